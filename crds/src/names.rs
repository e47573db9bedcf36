//! Names by which parts of a mesh find each other's objects.

/// The namespace of a mesh's own workloads.
pub const NAMESPACE: &str = "isthmus-system";
/// The service account, the Service and the Deployment of a control plane.
pub const CONTROL_PLANE: &str = "isthmus-control-plane";
/// The ConfigMap that tells proxies by which root they know their control plane, as `root.pem`.
pub const ROOT: &str = "isthmus-root";
/// The Secret that holds the CA of a control plane.
pub const AUTHORITY: &str = "isthmus-ca";
/// The audience of the token by which a proxy proves who it is.
pub const AUDIENCE: &str = "isthmus.dev/ca";
/// The label by which the objects of a Gateway are known (GEP-1762).
pub const GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";

/// The label that everything has which Isthmus makes, and its value.
pub const OURS: (&str, &str) = ("app.kubernetes.io/managed-by", "isthmus");

const SUFFIX: &str = "-isthmus";
/// What a Service may be called at most (RFC 1035).
const MOST: usize = 63;

/// What the Deployment, the Service and the service account of Gateway `name` are called.
///
/// A name that no Service may have, as it is too long, has dots or begins with a digit, is changed as little
/// as can be, and told from others that then look alike by a hash of all of it.
pub fn of_gateway(name: &str) -> String {
    let digit = name.starts_with(|first: char| first.is_ascii_digit());
    if name.len() + SUFFIX.len() <= MOST && !digit && !name.contains('.') {
        return format!("{name}{SUFFIX}");
    }
    let letter = if digit { "g" } else { "" };
    let hash = format!("-{:08x}", fnv1a(name.as_bytes()));
    let room = MOST - letter.len() - hash.len() - SUFFIX.len();
    let kept: String = name.replace('.', "-").chars().take(room).collect();
    format!("{letter}{}{hash}{SUFFIX}", kept.trim_end_matches('-'))
}

/// FNV-1a, 32 bits: short, and the same in every version.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::{MOST, of_gateway};

    #[test]
    fn names_are_short_enough_and_tell_gateways_apart() {
        assert_eq!(of_gateway("edge"), "edge-isthmus");
        let (a, b) = (of_gateway(&"a".repeat(200)), of_gateway(&"a".repeat(201)));
        assert!(a.len() <= MOST && b.len() <= MOST && a != b, "{a} {b}");
        let (dot, dash) = (of_gateway("a.b"), of_gateway("a-b"));
        assert!(dot.starts_with("a-b-") && dash == "a-b-isthmus", "{dot} {dash}");
        assert!(of_gateway("1a").starts_with("g1a-"));
    }
}
