//! Host names as listeners and routes declare them (Gateway API `Hostname`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a listener or a route matches of a request's host.
///
/// The text is lower case, without port and without trailing dot. Ordering is for determinism only;
/// specificity is the matcher's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum HostPattern {
    /// No hostname was given: every host.
    Any,
    /// `*.example.com`, held as `example.com`: one or more labels in front of it.
    Wildcard(String),
    /// `www.example.com`.
    Exact(String),
}

/// Why a text is no Gateway API `Hostname`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is not a hostname: {1}")]
pub struct InvalidHost(pub String, pub &'static str);

impl HostPattern {
    /// Reads a Gateway API `Hostname`: RFC 1123 labels, with `*` as the whole first label at most.
    ///
    /// # Errors
    /// When the text is empty, longer than 253 bytes, an IP address, or has a label that RFC 1123 does
    /// not allow.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        let fail = |why| InvalidHost(text.to_owned(), why);
        let lower = text.to_ascii_lowercase();
        if lower.is_empty() {
            return Err(fail("it is empty"));
        }
        if lower.len() > 253 {
            return Err(fail("it is longer than 253 characters"));
        }
        let (wildcard, rest) = match lower.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, lower.as_str()),
        };
        for label in rest.split('.') {
            let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
            let bytes = label.as_bytes();
            if bytes.len() > 63 {
                return Err(fail("a label is longer than 63 characters"));
            }
            if !edge(bytes.first()) || !edge(bytes.last()) {
                return Err(fail("a label must begin and end with a letter or a digit"));
            }
            if !bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-') {
                return Err(fail("a label may hold letters, digits and hyphens only"));
            }
        }
        if rest.parse::<std::net::Ipv4Addr>().is_ok() {
            return Err(fail("an IP address is not allowed here"));
        }
        Ok(if wildcard { Self::Wildcard(rest.to_owned()) } else { Self::Exact(lower) })
    }

    /// Whether `host`, lower case and without port or trailing dot, is matched.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => name == host,
            Self::Wildcard(suffix) => host
                .strip_suffix(suffix.as_str())
                .and_then(|front| front.strip_suffix('.'))
                .is_some_and(|labels| !labels.is_empty()),
        }
    }

    /// The narrower of two patterns when some host is matched by both.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, narrow) | (narrow, Self::Any) => Some(narrow.clone()),
            (Self::Exact(host), pattern) | (pattern, Self::Exact(host)) => {
                pattern.matches(host).then(|| Self::Exact(host.clone()))
            }
            (Self::Wildcard(a), Self::Wildcard(b)) => {
                let covers = |wide: &str, narrow: &str| {
                    narrow.strip_suffix(wide).is_some_and(|f| f.is_empty() || f.ends_with('.'))
                };
                if covers(a, b) { Some(other.clone()) } else { covers(b, a).then(|| self.clone()) }
            }
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
            Self::Exact(host) => f.write_str(host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HostPattern;

    fn host(text: &str) -> HostPattern {
        HostPattern::parse(text).unwrap()
    }

    #[test]
    fn b9_a_wildcard_needs_a_label_in_front() {
        let wildcard = host("*.Example.com");
        assert!(wildcard.matches("a.example.com"));
        assert!(wildcard.matches("a.b.example.com"));
        assert!(!wildcard.matches("example.com"));
        assert!(!wildcard.matches("badexample.com"));
    }

    #[test]
    fn intersections_keep_the_narrower_pattern() {
        let both = |a: &str, b: &str| host(a).intersection(&host(b)).map(|p| p.to_string());
        assert_eq!(both("*.example.com", "a.example.com").as_deref(), Some("a.example.com"));
        assert_eq!(both("*.example.com", "*.a.example.com").as_deref(), Some("*.a.example.com"));
        assert_eq!(both("*.example.com", "example.com"), None);
        assert_eq!(both("a.com", "b.com"), None);
        assert_eq!(both("*.a.com", "*.ba.com"), None);
    }

    #[test]
    fn what_is_no_hostname_is_refused() {
        for bad in ["", "*", "*.", "a..b", "-a.com", "a_b.com", "1.2.3.4", "a.*.com", "a.com."] {
            assert!(HostPattern::parse(bad).is_err(), "{bad:?} must be refused");
        }
    }
}
