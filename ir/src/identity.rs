//! SPIFFE identities as structs, never as strings to be matched by patterns (SPIFFE-ID, section 2).

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// A SPIFFE trust domain: lower-case letters, digits, dots, dashes and underscores, 255 at most.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustDomain(Arc<str>);

/// A SPIFFE ID: `spiffe://<trust domain>/<segment>/...`, without query, fragment, port or user.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpiffeId {
    trust_domain: TrustDomain,
    path: Arc<str>,
}

/// Why a text is no trust domain or no SPIFFE ID.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text:?} is not a {what}: {why}")]
pub struct InvalidIdentity {
    /// The refused text.
    pub text: String,
    what: &'static str,
    why: &'static str,
}

impl TrustDomain {
    /// The trust domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SpiffeId {
    /// The identity of `path` (which begins with a slash) in `trust_domain`.
    ///
    /// # Errors
    /// When a segment of the path is empty, a dot segment, or holds a character that SPIFFE-ID,
    /// section 2.2, does not allow.
    pub fn new(trust_domain: &TrustDomain, path: &str) -> Result<Self, InvalidIdentity> {
        format!("spiffe://{trust_domain}{path}").parse()
    }

    /// The identity of a Kubernetes service account in `trust_domain`, or of what is named like one:
    /// `/ns/<namespace>/sa/<name>`.
    ///
    /// # Errors
    /// When a name holds what SPIFFE-ID, section 2.2, does not allow.
    pub fn of_service_account(
        trust_domain: &TrustDomain,
        namespace: &str,
        name: &str,
    ) -> Result<Self, InvalidIdentity> {
        Self::new(trust_domain, &format!("/ns/{namespace}/sa/{name}"))
    }

    /// The namespace and the name of the service account whose identity this is, when it is one's.
    pub fn service_account(&self) -> Option<(&str, &str)> {
        let (namespace, name) = self.path.strip_prefix("/ns/")?.split_once("/sa/")?;
        (!namespace.contains('/') && !name.contains('/')).then_some((namespace, name))
    }

    /// The trust domain whose bundle, and no other, may authenticate this identity.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path with its leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for TrustDomain {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let fail = |why| InvalidIdentity { text: text.to_owned(), what: "trust domain", why };
        if text.is_empty() || text.len() > 255 {
            return Err(fail("it must have 1 to 255 characters"));
        }
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        if !text.bytes().all(allowed) {
            return Err(fail("it may hold lower-case letters, digits, '.', '-' and '_' only"));
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let fail = |why| InvalidIdentity { text: text.to_owned(), what: "SPIFFE ID", why };
        if text.len() > 2048 {
            return Err(fail("it is longer than 2048 characters"));
        }
        let rest = text.strip_prefix("spiffe://").ok_or_else(|| fail("it must begin with spiffe://"))?;
        let slash = rest.find('/').ok_or_else(|| fail("a workload's identity has a path"))?;
        let (domain, path) = rest.split_at(slash);
        let trust_domain = domain.parse().map_err(|e: InvalidIdentity| fail(e.why))?;
        for segment in path.split('/').skip(1) {
            if segment.is_empty() {
                return Err(fail("a path segment is empty"));
            }
            if segment == "." || segment == ".." {
                return Err(fail("dot segments are not allowed"));
            }
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            if !segment.bytes().all(allowed) {
                return Err(fail("a segment may hold letters, digits, '.', '-' and '_' only"));
            }
        }
        Ok(Self { trust_domain, path: path.into() })
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}{}", self.trust_domain, self.path)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for TrustDomain {
    type Error = InvalidIdentity;

    fn try_from(text: String) -> Result<Self, InvalidIdentity> {
        text.parse()
    }
}

impl From<TrustDomain> for String {
    fn from(domain: TrustDomain) -> Self {
        domain.0.as_ref().to_owned()
    }
}

impl TryFrom<String> for SpiffeId {
    type Error = InvalidIdentity;

    fn try_from(text: String) -> Result<Self, InvalidIdentity> {
        text.parse()
    }
}

impl From<SpiffeId> for String {
    fn from(id: SpiffeId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::SpiffeId;

    #[test]
    fn d1_what_spiffe_forbids_is_refused() {
        for bad in [
            "spiffe://east/ns/a/",
            "spiffe://east/ns//a",
            "spiffe://east",
            "spiffe://East/ns/a",
            "spiffe://east:443/ns/a",
            "spiffe://user@east/ns/a",
            "spiffe://east/ns/a?x=y",
            "spiffe://east/ns/a#f",
            "spiffe://east/ns%2fa",
            "spiffe://east/ns/a\0.evil",
            "spiffe://east/../a",
            "SPIFFE://east/a",
            "https://east/a",
        ] {
            assert!(bad.parse::<SpiffeId>().is_err(), "{bad:?} must be refused");
        }
        let id: SpiffeId = "spiffe://east.example/ns/a/sa/B_1".parse().unwrap();
        assert_eq!(id.trust_domain().as_str(), "east.example");
        assert_eq!(id.path(), "/ns/a/sa/B_1");
    }
}
