//! The text that an operator carries from one cluster to the other.
//!
//! `isthmus-join.` and, as base64url without padding: version, cluster id, trust domain, expiry, key pin,
//! nonce, addresses, and the first four bytes of the SHA-256 of all that. The checksum is at the same
//! place in every version, so that a damaged token and one of a newer version can be told apart.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use isthmus_ir::{Redacted, TrustDomain};
use sha2::{Digest, Sha256};

use crate::label::is_dns_label;

/// Seconds that a token lives.
pub const LIFE: u64 = 15 * 60;

const PREFIX: &str = "isthmus-join.";
const VERSION: u8 = 1;
/// Longer than any token that is made.
const MAX_TEXT: usize = 4096;
const MAX_ADDRESSES: usize = 16;

/// 32 random bytes that only the two clusters know.
pub type Nonce = Redacted<[u8; 32]>;

/// What the token says. Its text is a secret for as long as it lives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// The inviter's cluster id.
    pub cluster: String,
    /// The inviter's trust domain.
    pub trust_domain: TrustDomain,
    /// The inviter's east-west gateways, of both families; one to sixteen.
    pub addresses: Vec<SocketAddr>,
    /// SHA-256 of the public key (`SubjectPublicKeyInfo`) of a certificate in the chain that the inviter's
    /// federation port shows.
    pub pin: [u8; 32],
    /// What the joiner proves to know.
    pub nonce: Nonce,
    /// When it ends by the inviter's clock, seconds since 1970. For the joiner's information: the inviter
    /// decides.
    pub expires: u64,
}

/// Why a text is no token that can be used here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenError {
    /// It does not begin like one.
    #[error(
        "this is no join token: one begins with {PREFIX:?}; print one with `isthmus peer invite` on the other side"
    )]
    NotAToken,
    /// Its checksum is wrong.
    #[error("the join token is damaged or incomplete: copy it again, whole and on one line")]
    Damaged,
    /// A later version made it.
    #[error(
        "the join token has format {0}, and this isthmus reads {VERSION} only: use the same version on both sides"
    )]
    Version(u8),
    /// Its checksum is right and its contents are not.
    #[error(
        "the join token is invalid ({0}): print a new one with `isthmus peer invite` on the other side"
    )]
    Invalid(&'static str),
}

impl Token {
    /// The token as text.
    pub fn encode(&self) -> String {
        let mut bytes = vec![VERSION];
        for text in [self.cluster.as_str(), self.trust_domain.as_str()] {
            bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            bytes.extend(text.bytes().take(255));
        }
        bytes.extend(self.expires.to_be_bytes());
        bytes.extend(self.pin);
        bytes.extend(self.nonce.expose());
        let addresses = self.addresses.iter().take(MAX_ADDRESSES);
        bytes.push(u8::try_from(addresses.len()).unwrap_or(u8::MAX));
        for address in addresses {
            match address.ip() {
                IpAddr::V4(ip) => bytes.extend([4].into_iter().chain(ip.octets())),
                IpAddr::V6(ip) => bytes.extend([6].into_iter().chain(ip.octets())),
            }
            bytes.extend(address.port().to_be_bytes());
        }
        bytes.extend(check(&bytes));
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).take(MAX_TEXT).collect();
        let encoded = text.strip_prefix(PREFIX).ok_or(TokenError::NotAToken)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Damaged)?;
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or(TokenError::Damaged)?;
        if check(body) != *sum {
            return Err(TokenError::Damaged);
        }
        let mut reader = Reader(body);
        match reader.byte()? {
            VERSION => reader.token(),
            version => Err(TokenError::Version(version)),
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a token of cluster {}", self.cluster)
    }
}

fn check(body: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(body).into();
    [a, b, c, d]
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], TokenError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(TokenError::Invalid("it is too short"))?;
        self.0 = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, TokenError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn text(&mut self) -> Result<String, TokenError> {
        let length = usize::from(self.byte()?);
        let (head, rest) =
            self.0.split_at_checked(length).ok_or(TokenError::Invalid("it is too short"))?;
        self.0 = rest;
        String::from_utf8(head.to_vec()).map_err(|_| TokenError::Invalid("a name is no text"))
    }

    fn address(&mut self) -> Result<SocketAddr, TokenError> {
        let ip = match self.byte()? {
            4 => IpAddr::V4(Ipv4Addr::from(self.array()?)),
            6 => IpAddr::V6(Ipv6Addr::from(self.array()?)),
            _ => return Err(TokenError::Invalid("an address is of no known family")),
        };
        let port = u16::from_be_bytes(self.array()?);
        if port == 0 || ip.is_unspecified() || ip.is_multicast() {
            return Err(TokenError::Invalid("an address cannot be dialled"));
        }
        Ok(SocketAddr::new(ip, port))
    }

    fn token(&mut self) -> Result<Token, TokenError> {
        let cluster = self.text()?;
        if !is_dns_label(&cluster) {
            return Err(TokenError::Invalid("its cluster id is no DNS label"));
        }
        let domain = self.text()?.parse();
        let trust_domain = domain.map_err(|_| TokenError::Invalid("its trust domain is none"))?;
        let expires = u64::from_be_bytes(self.array()?);
        let pin = self.array()?;
        let nonce = Redacted::new(self.array()?);
        let count = usize::from(self.byte()?);
        if count == 0 || count > MAX_ADDRESSES {
            return Err(TokenError::Invalid("it must have 1 to 16 addresses"));
        }
        let addresses = (0..count).map(|_| self.address()).collect::<Result<_, _>>()?;
        if !self.0.is_empty() {
            return Err(TokenError::Invalid("it goes on after its end"));
        }
        Ok(Token { cluster, trust_domain, addresses, pin, nonce, expires })
    }
}
