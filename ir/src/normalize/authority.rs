//! The normal form of an authority: the host by which listeners and routes are chosen.
//!
//! The host is lower case and without trailing dot; an IPv6 address keeps its brackets and is spelled as
//! RFC 5952 has it. The port is kept apart, because no decision is made by it (Gateway API,
//! `Hostname`). User info is refused, and so is whatever no DNS name holds: it would only reach logs.

use std::{borrow::Cow, net::Ipv6Addr};

/// The authority that a request is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authority<'a> {
    /// Lower case, without trailing dot; IPv6 addresses in brackets.
    pub host: Cow<'a, str>,
    /// Given explicitly.
    pub port: Option<u16>,
}

/// Why an authority is refused. The request gets 400.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadAuthority {
    /// There is no host.
    #[error("the host is empty")]
    Empty,
    /// `user@host`.
    #[error("user info is not allowed")]
    UserInfo,
    /// Longer than 253 characters.
    #[error("the host is longer than 253 characters")]
    Long,
    /// A character that no host name holds.
    #[error("the host holds a character that no host name has")]
    Character,
    /// Two dots in a row, or one in front.
    #[error("a label of the host is empty")]
    EmptyLabel,
    /// Brackets around something that is no IPv6 address; a zone is none either.
    #[error("the host is no IPv6 address")]
    Ipv6,
    /// Not a number from 1 to 65535, or with a sign or leading zeros.
    #[error("the port is no number from 1 to 65535")]
    Port,
}

impl Authority<'_> {
    /// The same authority, of its own.
    pub fn into_owned(self) -> Authority<'static> {
        Authority { host: Cow::Owned(self.host.into_owned()), port: self.port }
    }
}

/// Reads a `Host` field, an `:authority` or the authority of a request target. The host is borrowed when
/// it is normal already. A port that is present but empty (`a.com:`) counts as absent (RFC 9110,
/// section 4.2.3).
///
/// # Errors
/// See [`BadAuthority`].
///
/// ```
/// use isthmus_ir::normalize::authority;
/// let a = authority(b"Shop.Example.COM.:8443").unwrap();
/// assert_eq!((&*a.host, a.port), ("shop.example.com", Some(8443)));
/// ```
pub fn authority(raw: &[u8]) -> Result<Authority<'_>, BadAuthority> {
    if memchr::memchr(b'@', raw).is_some() {
        return Err(BadAuthority::UserInfo);
    }
    if let Some(rest) = raw.strip_prefix(b"[") {
        return ipv6(rest);
    }
    let (host, port) = match memchr::memchr(b':', raw) {
        Some(colon) => (raw.get(..colon).unwrap_or_default(), raw.get(colon + 1..).unwrap_or_default()),
        None => (raw, &[][..]),
    };
    Ok(Authority { host: name(host)?, port: number(port)? })
}

/// The normal form of a server name from a TLS `ClientHello`, as [`choose_tls`] wants it.
///
/// # Errors
/// When it is no host name (RFC 6066, section 3); such a handshake is refused.
///
/// [`choose_tls`]: crate::matcher::Group::choose_tls
pub fn server_name(raw: &[u8]) -> Result<Cow<'_, str>, BadAuthority> {
    name(raw)
}

fn ipv6(rest: &[u8]) -> Result<Authority<'static>, BadAuthority> {
    let close = memchr::memchr(b']', rest).ok_or(BadAuthority::Ipv6)?;
    let (inside, after) = rest.split_at_checked(close).ok_or(BadAuthority::Ipv6)?;
    let address: Ipv6Addr =
        std::str::from_utf8(inside).ok().and_then(|text| text.parse().ok()).ok_or(BadAuthority::Ipv6)?;
    let port = match after.strip_prefix(b"]").unwrap_or_default() {
        [] => None,
        [b':', digits @ ..] => number(digits)?,
        _ => return Err(BadAuthority::Character),
    };
    Ok(Authority { host: Cow::Owned(format!("[{address}]")), port })
}

fn name(raw: &[u8]) -> Result<Cow<'_, str>, BadAuthority> {
    let name = raw.strip_suffix(b".").unwrap_or(raw);
    if name.is_empty() {
        return Err(if raw.is_empty() { BadAuthority::Empty } else { BadAuthority::EmptyLabel });
    }
    if name.len() > 253 {
        return Err(BadAuthority::Long);
    }
    let upper = scan(name)?;
    let text = std::str::from_utf8(name).map_err(|_| BadAuthority::Character)?;
    Ok(if upper { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) })
}

/// Whether a name that may stand has upper-case letters.
fn scan(name: &[u8]) -> Result<bool, BadAuthority> {
    let (mut upper, mut dot) = (false, true);
    for &byte in name {
        match byte {
            b'.' if dot => return Err(BadAuthority::EmptyLabel),
            b'.' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
            b'A'..=b'Z' => upper = true,
            _ => return Err(BadAuthority::Character),
        }
        dot = byte == b'.';
    }
    if dot { Err(BadAuthority::EmptyLabel) } else { Ok(upper) }
}

fn number(digits: &[u8]) -> Result<Option<u16>, BadAuthority> {
    if digits.is_empty() {
        return Ok(None);
    }
    if digits.starts_with(b"0") || digits.len() > 5 {
        return Err(BadAuthority::Port);
    }
    let mut value = 0_u32;
    for &digit in digits {
        let digit = digit.is_ascii_digit().then(|| u32::from(digit - b'0')).ok_or(BadAuthority::Port)?;
        value = value * 10 + digit;
    }
    u16::try_from(value).map(Some).map_err(|_| BadAuthority::Port)
}
