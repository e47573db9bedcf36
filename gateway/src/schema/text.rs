//! Rules about single texts that only manifests have.

use std::{net::IpAddr, time::Duration};

use crate::lexical::{Check, token};

/// No rule.
#[allow(clippy::unnecessary_wraps, reason = "it is one of the checks, which may fail")]
pub(super) fn any(_: &str) -> Check {
    Ok(())
}

fn alphanumeric(byte: Option<&u8>) -> bool {
    byte.is_some_and(u8::is_ascii_alphanumeric)
}

/// Begins and ends with a letter or digit; in between are these and `inner`.
fn word(text: &str, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || inner.contains(b))
}

fn lower(text: &str) -> bool {
    !text.bytes().any(|b| b.is_ascii_uppercase())
}

/// RFC 1123 label.
pub(super) fn label(text: &str) -> Check {
    if text.len() <= 63 && lower(text) && word(text, b"-") {
        return Ok(());
    }
    Err("must be lower-case letters, digits and '-', with a letter or digit at both ends, 63 at most")
}

/// RFC 1123 subdomain: labels with dots between.
pub(super) fn subdomain(text: &str) -> Check {
    if text.len() <= 253 && lower(text) && text.split('.').all(|l| word(l, b"-")) {
        return Ok(());
    }
    Err("must be lower-case letters, digits, '-' and '.', with a letter or digit at both ends")
}

/// The name of a port as IANA registers them.
pub(super) fn service_name(text: &str) -> Check {
    let letter = text.bytes().any(|b| b.is_ascii_lowercase());
    if text.len() <= 15 && letter && label(text).is_ok() && !text.contains("--") {
        return Ok(());
    }
    Err("must be lower-case letters, digits and single '-', with a letter, 15 at most")
}

/// An IP address, or what says that there is none.
pub(super) fn cluster_ip(text: &str) -> Check {
    if matches!(text, "" | "None") || text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    Err("must be an IP address, or None")
}

/// Gateway API `CORSOrigin`.
pub(super) fn origin(text: &str) -> Check {
    let host = |host: &str| {
        let labels = host.strip_prefix("*.").unwrap_or(host);
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        host == "*" || labels.split('.').all(label)
    };
    let port = |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
    let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fits = authority.is_some_and(|authority| match authority.split_once(':') {
        Some((name, number)) => host(name) && port(number),
        None => host(authority),
    });
    if text == "*" || fits {
        return Ok(());
    }
    Err("must be '*', or a scheme and a host such as https://a.example.com, with '*' as its first label")
}

/// Gateway API `Routability`.
pub(super) fn routability(text: &str) -> Check {
    let (domain, path) = text.split_once('/').unwrap_or((text, ""));
    let reserved = domain == "k8s.io" || domain.ends_with(".k8s.io");
    if matches!(text, "" | "Cluster") || (subdomain(domain).is_ok() && !path.is_empty() && !reserved) {
        return Ok(());
    }
    Err(
        "must be Cluster, or a domain and a path, such as example.com/name, of another domain than k8s.io",
    )
}

/// Gateway API `WellKnownCACertificatesType`.
pub(super) fn well_known_certificates(text: &str) -> Check {
    let own = |(domain, name): (&str, &str)| {
        subdomain(domain).is_ok() && name.len() <= 63 && word(name, b"-_.")
    };
    if text == "System" || text.split_once('/').is_some_and(own) {
        return Ok(());
    }
    Err("must be System, or a domain and a name, such as example.com/name")
}

/// Gateway API `AbsoluteURI`, by its pattern.
pub(super) fn absolute_uri(text: &str) -> Check {
    let scheme = |(scheme, rest): (&str, &str)| {
        !scheme.is_empty() && !scheme.contains(['/', '?', '#']) && rest.starts_with("//")
    };
    if text.split_once(':').is_some_and(scheme) {
        return Ok(());
    }
    Err("must be a URI with a scheme and a host, such as spiffe://example.com/name")
}

/// Gateway API `Group`.
pub(super) fn group(text: &str) -> Check {
    if text.is_empty() { Ok(()) } else { subdomain(text) }
}

/// Gateway API `Kind`.
pub(super) fn kind(text: &str) -> Check {
    if word(text, b"-") && !text.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(());
    }
    Err("must be letters, digits and '-', with a letter in front")
}

/// Gateway API `Hostname`.
pub(super) fn hostname(text: &str) -> Check {
    subdomain(text.strip_prefix("*.").unwrap_or(text))
        .map_err(|_| "must be a host name in lower case, with '*' as its first label at most")
}

/// `domain/path`, as for names of controllers.
pub(super) fn domain_path(text: &str) -> Check {
    match text.split_once('/') {
        Some((domain, rest)) if subdomain(domain).is_ok() && is_path(rest) => Ok(()),
        _ => Err("must be a domain and a path, such as example.com/name"),
    }
}

/// Gateway API `ProtocolType`.
pub(super) fn protocol(text: &str) -> Check {
    let prefixed =
        text.split_once('/').is_some_and(|(domain, name)| subdomain(domain).is_ok() && word(name, b""));
    if word(text, b"-") || prefixed {
        return Ok(());
    }
    Err("must be a protocol such as HTTP, or example.com/name")
}

/// Gateway API `AddressType`, by a pattern that asks for less than it seems to: what it allows and nobody
/// understands is refused in the Gateway's status.
pub(super) fn address_type(text: &str) -> Check {
    let domain = |at: usize| {
        let (before, path) = text.split_at(at);
        before.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && is_path(path.get(1..).unwrap_or_default())
    };
    let known =
        text.starts_with("Hostname") || text.contains("IPAddress") || text.contains("NamedAddress");
    if known || text.match_indices('/').any(|(at, _)| domain(at)) {
        return Ok(());
    }
    Err("must be IPAddress, Hostname, NamedAddress, or a domain and a path, such as example.com/name")
}

/// What may follow a domain and its slash.
fn is_path(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b))
}

/// The name of a header field.
pub(super) fn header_name(text: &str) -> Check {
    if token(text) { Ok(()) } else { Err("must be the name of a header field") }
}

/// The key of a label or annotation.
pub(super) fn label_key(text: &str) -> Check {
    let name = match text.split_once('/') {
        Some((prefix, name)) if subdomain(prefix).is_ok() => name,
        Some(_) => return Err("must have a domain before '/'"),
        None => text,
    };
    if name.len() <= 63 && word(name, b"-_.") {
        return Ok(());
    }
    Err("must be letters, digits, '-', '_' and '.', 63 at most, with a domain and '/' in front if any")
}

/// The value of a label.
pub(super) fn label_value(text: &str) -> Check {
    if text.is_empty() || (text.len() <= 63 && word(text, b"-_.")) {
        return Ok(());
    }
    Err("must be letters, digits, '-', '_' and '.', 63 at most")
}

/// Gateway API `Duration` (GEP-2257).
pub(super) fn duration(text: &str) -> Check {
    parse_duration(text)
        .map(|_| ())
        .ok_or("must be up to four numbers of up to five digits with units, such as 1h30m or 500ms")
}

/// The length of a GEP-2257 duration.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    for _ in 0..4 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at_checked(digits).filter(|_| (1..=5).contains(&digits))?;
        let number: u64 = number.parse().ok()?;
        let (unit, after) = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1000)]
            .into_iter()
            .find_map(|(unit, millis)| Some((millis, after.strip_prefix(unit)?)))?;
        total += Duration::from_millis(number * unit);
        rest = after;
        if rest.is_empty() {
            return Some(total);
        }
    }
    None
}

/// RFC 3339, in its usual form.
pub(super) fn timestamp(text: &str) -> Check {
    let shape = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text
                .bytes()
                .zip(shape.bytes())
                .all(|(b, s)| if s == b'0' { b.is_ascii_digit() } else { b == s })
    };
    let (moment, zone) = text.split_at_checked(19).unwrap_or((text, ""));
    let fraction = zone.strip_prefix('.').map(|f| f.trim_start_matches(|c: char| c.is_ascii_digit()));
    let zone = fraction.unwrap_or(zone);
    let offset = shape(zone, "+00:00") || shape(zone, "-00:00");
    if shape(moment, "0000-00-00T00:00:00") && (zone == "Z" || offset) {
        return Ok(());
    }
    Err("must be a time such as 2026-01-31T12:00:00Z")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn durations_follow_gep_2257() {
        let millis = |text| parse_duration(text).map(|d| Duration::as_millis(&d));
        assert_eq!(millis("0h"), Some(0));
        assert_eq!(millis("1h30m"), Some(5_400_000));
        assert_eq!(millis("10s500ms"), Some(10_500));
        assert_eq!(millis("1h1h1h1h"), Some(14_400_000));
        for bad in ["", "1", "s", "1.5s", "100000s", "-1s", "1d", "1s ", "1h1h1h1h1h"] {
            assert_eq!(millis(bad), None, "{bad:?} must be refused");
        }
    }

    #[test]
    fn names_follow_their_patterns() {
        let all = |check: fn(&str) -> Check, good: &[&str], bad: &[&str]| {
            for text in good {
                assert_eq!(check(text), Ok(()), "{text:?}");
            }
            for text in bad {
                assert!(check(text).is_err(), "{text:?} must be refused");
            }
        };
        all(label, &["a", "a-1"], &["", "A", "-a", "a.b", "a_b"]);
        all(hostname, &["a.com", "*.a.com", "1.2.3.4"], &["*", "*.", "a.*.com", "A.com", "a..b"]);
        all(kind, &["Service", "My-Kind"], &["", "1a", "a-", "a/b"]);
        all(domain_path, &["isthmus.dev/gateway"], &["isthmus", "isthmus.dev/", "/x", "A.b/c"]);
        all(protocol, &["HTTP", "example.com/bar"], &["", "example.com", "foo.example.com", "a b"]);
        all(
            well_known_certificates,
            &["System", "example.com/Own_1"],
            &["", "system", "/a", "example.com/", "example.com/a/b"],
        );
        all(
            absolute_uri,
            &["spiffe://a.example/b", "https://a?b#c", "a b://"],
            &["", "a.example", "://a", "urn:a", "a/b://c"],
        );
        all(label_key, &["app", "example.com/a_b.C"], &["", "/a", "a/b/c", "-a"]);
        all(
            timestamp,
            &["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.5+02:00"],
            &["2026-01-31", "yesterday"],
        );
    }
}
