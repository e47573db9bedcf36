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

/// The label that says which MeshRevision runs a Gateway: on the Gateway, or else on its namespace.
pub const REVISION_LABEL: &str = "isthmus.dev/revision";

/// What the Deployment, the Service and the Lease of the control plane of a MeshRevision are called; those
/// of the MeshInstall itself without one.
pub fn control_plane(revision: Option<&str>) -> String {
    revision.map_or_else(|| CONTROL_PLANE.to_owned(), |name| format!("{CONTROL_PLANE}-{name}"))
}

/// The MeshRevision that a Gateway with these labels asks for, in a namespace with those.
pub fn revision_asked<'a>(
    gateway: Option<&'a Labels>,
    namespace: Option<&'a Labels>,
) -> Option<&'a str> {
    let asked = |labels: Option<&'a Labels>| labels?.get(REVISION_LABEL).filter(|name| !name.is_empty());
    asked(gateway).or_else(|| asked(namespace)).map(String::as_str)
}

type Labels = std::collections::BTreeMap<String, String>;

const SUFFIX: &str = "-isthmus";
/// What a Service may be called at most (RFC 1035), and the most that a label's value may be.
const MOST: usize = 63;

/// What the Deployment, the Service and the service account of Gateway `name` are called.
///
/// A name that no Service may have, as it is too long, has dots or begins with a digit, is changed as little
/// as can be, and told from others that then look alike by a hash of all of it. The hash comes last, where
/// the others have the suffix: so no Gateway can be given the name of another one's objects.
pub fn of_gateway(name: &str) -> String {
    let digit = name.starts_with(|first: char| first.is_ascii_digit());
    if name.len() + SUFFIX.len() <= MOST && !digit && !name.contains('.') {
        return format!("{name}{SUFFIX}");
    }
    let letter = if digit { "g" } else { "" };
    cut(&format!("{letter}{}", name.replace('.', "-")), &format!("{SUFFIX}-{:016x}", fnv1a(name)))
}

/// The value of [`GATEWAY_LABEL`] for Gateway `name`, which is the name where a label may hold it. It tells
/// Gateways apart, as pods are chosen by it.
pub fn label_of_gateway(name: &str) -> String {
    if name.len() <= MOST {
        return name.to_owned();
    }
    cut(name, &format!("-{:016x}", fnv1a(name)))
}

/// As much of `name` as there is room for in front of `end`.
fn cut(name: &str, end: &str) -> String {
    let kept: String = name.chars().take(MOST - end.len()).collect();
    format!("{}{end}", kept.trim_end_matches(['-', '.']))
}

/// FNV-1a, 64 bits: short, and the same in every version.
fn fnv1a(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{MOST, label_of_gateway, of_gateway};

    /// Whether a Service may be called so.
    fn is_label_of_rfc_1035(name: &str) -> bool {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        name.len() <= MOST
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && !name.ends_with('-')
            && name.chars().all(inner)
    }

    #[test]
    fn names_stay_for_ever() {
        for (name, expected) in [
            ("edge", "edge-isthmus"),
            ("a-b", "a-b-isthmus"),
            ("a.b", "a-b-isthmus-e61d99190466522c"),
            ("1a", "g1a-isthmus-07f86307b4b9b8c7"),
        ] {
            assert_eq!(of_gateway(name), expected);
        }
        let longest = "a".repeat(55);
        assert_eq!(of_gateway(&longest), format!("{longest}-isthmus"));
        assert_eq!(label_of_gateway(&"a".repeat(63)), "a".repeat(63));
    }

    #[test]
    fn every_gateway_has_a_name_of_its_own_that_a_service_may_have() {
        let mut gateways: BTreeSet<String> =
            ["edge", "a-b", "a.b", "a.b.c", "a-b.c", "1a", "g1a", "1.a", "1-a"]
                .map(str::to_owned)
                .into();
        for length in [54, 55, 56, 62, 63, 64, 200, 201, 253] {
            gateways.insert("a".repeat(length));
            gateways.insert(format!("{}.b", "a".repeat(length - 2)));
            gateways.insert(format!("1{}", "a-".repeat(length / 2)) + "a");
        }
        // Names that look like what others become.
        for name in gateways.clone() {
            let name = of_gateway(&name);
            gateways.insert(name.trim_end_matches("-isthmus").to_owned());
            gateways.insert(name);
        }
        let names: BTreeSet<String> = gateways.iter().map(|name| of_gateway(name)).collect();
        assert_eq!(names.len(), gateways.len());
        assert!(names.iter().all(|name| is_label_of_rfc_1035(name)), "{names:#?}");
        let labels: BTreeSet<String> = gateways.iter().map(|name| label_of_gateway(name)).collect();
        assert_eq!(labels.len(), gateways.len());
        assert!(labels.iter().all(|label| label.len() <= MOST && !label.ends_with(['-', '.'])));
    }
}
