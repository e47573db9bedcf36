//! Origins that may read answers (Gateway API `HTTPCORSFilter.allowOrigins`; Fetch, section 3.2).
//!
//! What is declared and what a browser sends are compared here, once. A port that is not written is the
//! well-known one of the scheme.

use crate::normalize;

/// Origins that are allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// `*`.
    Any,
    /// Those of one scheme and port.
    Of {
        /// `http` or `https`.
        scheme: Scheme,
        /// The host, or what comes behind its `*`.
        host: String,
        /// Whether any front may stand before `host`.
        wildcard: bool,
        /// The port.
        port: u16,
    },
}

/// The scheme of an origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

/// Why a text is no origin: the rest of a sentence that begins with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is no origin: write http:// or https://, a host, and a port where it is another than usual")]
pub struct BadOrigin;

impl Origin {
    /// Reads an origin as it is declared.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, BadOrigin> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, rest) = scheme(text).ok_or(BadOrigin)?;
        let (wildcard, rest) = rest.strip_prefix('*').map_or((false, rest), |rest| (true, rest));
        let (host, port) = match (wildcard, rest) {
            (true, "") => (String::new(), None),
            (true, port) if port.starts_with(':') => (String::new(), port.get(1..)),
            (true, rest) => {
                let (host, port) = rest.split_once(':').map_or((rest, None), |(h, p)| (h, Some(p)));
                (host.to_ascii_lowercase(), port)
            }
            (false, rest) => return exact(scheme, rest),
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(BadOrigin)?,
            None => scheme.port(),
        };
        let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        if plain { Ok(Self::Of { scheme, host, wildcard, port }) } else { Err(BadOrigin) }
    }

    /// Whether the value of an `Origin` field is one of these.
    pub fn allows(&self, value: &[u8]) -> bool {
        let Self::Of { scheme, host, wildcard, port } = self else { return true };
        let asked = std::str::from_utf8(value).ok().and_then(|text| Self::parse(text).ok());
        let Some(Self::Of { scheme: of, host: asked, wildcard: false, port: at }) = asked else {
            return false;
        };
        let fits =
            if *wildcard { asked.len() > host.len() && asked.ends_with(host) } else { asked == *host };
        of == *scheme && at == *port && fits
    }
}

impl Scheme {
    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

fn scheme(text: &str) -> Option<(Scheme, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    Some((scheme, rest))
}

fn exact(scheme: Scheme, authority: &str) -> Result<Origin, BadOrigin> {
    let authority = normalize::authority(authority.as_bytes()).map_err(|_| BadOrigin)?;
    let port = authority.port.unwrap_or_else(|| scheme.port());
    Ok(Origin::Of { scheme, host: authority.host.into_owned(), wildcard: false, port })
}

#[cfg(test)]
mod tests {
    use super::Origin;

    #[test]
    fn origins_are_matched_as_the_specification_says() {
        for (declared, asked, expected) in [
            ("*", "https://a.com", true),
            ("https://a.com", "https://a.com", true),
            ("https://A.com:443", "https://a.com", true),
            ("https://a.com", "https://a.com:8443", false),
            ("https://a.com:8443", "https://a.com:8443", true),
            ("https://a.com", "http://a.com", false),
            ("https://*.a.com", "https://x.y.a.com", true),
            ("https://*.a.com", "https://a.com", false),
            ("https://*.a.com", "https://.a.com.evil.com", false),
            ("https://*", "https://anything.example", true),
            ("http://*:8080", "http://a.com:8080", true),
            ("http://*:8080", "http://a.com", false),
            ("https://a.com", "null", false),
            ("https://*.a.com", "https://*.a.com", false),
        ] {
            let origin = Origin::parse(declared).unwrap();
            assert_eq!(origin.allows(asked.as_bytes()), expected, "{declared} {asked}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in
            ["", "a.com", "ftp://a.com", "https://", "https://a.com:0", "https://a b", "https://*.a/b"]
        {
            assert!(Origin::parse(bad).is_err(), "{bad}");
        }
    }
}
