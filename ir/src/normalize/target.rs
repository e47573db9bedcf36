//! Request targets (RFC 9112, section 3.2): which form one has, and its parts in normal form.
//!
//! The query is passed on as it came, once it is known to hold nothing that ends or splits a line; what
//! is matched of it is decoded by the matcher. Whether a method or a form is served at all is the
//! proxy's decision.

use std::borrow::Cow;

use super::{Authority, BadAuthority, BadPath, authority, path};

/// A request target in its parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target<'a> {
    /// How it was written.
    pub form: Form,
    /// The authority of the absolute and authority forms. It wins over `Host`, which the proxy
    /// replaces by it (RFC 9112, section 3.2.2).
    pub authority: Option<Authority<'a>>,
    /// Normal; `*` in the asterisk form, empty in the authority form.
    pub path: Cow<'a, [u8]>,
    /// What follows the first `?`, as it came.
    pub query: Option<&'a [u8]>,
}

/// The forms of a request target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `/path?query`.
    Origin,
    /// `http://authority/path?query`.
    Absolute,
    /// `*`, of OPTIONS only. No route matches it.
    Asterisk,
    /// `host:port`, of CONNECT only.
    Authority,
}

/// Why a request target is refused. The request gets 400.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadTarget {
    /// Its form is not one that the method has.
    #[error("the request target has no form that its method allows")]
    Form,
    /// The query holds a control character, a space or `#`.
    #[error("the query holds a control character, a space or '#'")]
    Query,
    /// The path.
    #[error(transparent)]
    Path(#[from] BadPath),
    /// The authority.
    #[error(transparent)]
    Authority(#[from] BadAuthority),
}

impl<'a> Target<'a> {
    /// The authority that the request is for: its target's, else that of its `Host` field.
    ///
    /// # Errors
    /// When neither is there, or `Host` (also one that is overruled) is none.
    pub fn resolve(self, host: Option<&'a [u8]>) -> Result<Authority<'a>, BadAuthority> {
        let field = host.map(authority).transpose()?;
        self.authority.or(field).ok_or(BadAuthority::Empty)
    }
}

/// Reads the request target of an HTTP/1 request line.
///
/// # Errors
/// See [`BadTarget`].
///
/// ```
/// use isthmus_ir::normalize::target;
/// let t = target(b"GET", b"http://A.com/x/../y?q").unwrap();
/// assert_eq!((&*t.authority.unwrap().host, &*t.path, t.query), ("a.com", &b"/y"[..], Some(&b"q"[..])));
/// ```
pub fn target<'a>(method: &[u8], raw: &'a [u8]) -> Result<Target<'a>, BadTarget> {
    if method == b"CONNECT" {
        let authority = authority(raw)?;
        authority.port.ok_or(BadTarget::Form)?;
        let path = Cow::Borrowed(&[][..]);
        return Ok(Target { form: Form::Authority, authority: Some(authority), path, query: None });
    }
    match raw {
        [b'/', ..] => origin(method, raw),
        _ => after_scheme(raw).map_or_else(|| origin(method, raw), absolute),
    }
}

/// Reads an HTTP/2 `:path`, which has the origin form or, of OPTIONS, the asterisk form.
///
/// # Errors
/// See [`BadTarget`].
pub fn origin<'a>(method: &[u8], raw: &'a [u8]) -> Result<Target<'a>, BadTarget> {
    let (form, path, query) = match raw {
        b"*" if method == b"OPTIONS" => (Form::Asterisk, Cow::Borrowed(raw), None),
        [b'/', ..] => {
            let (raw_path, query) = split(raw)?;
            (Form::Origin, path(raw_path)?, query)
        }
        _ => return Err(BadTarget::Form),
    };
    Ok(Target { form, authority: None, path, query })
}

fn absolute(rest: &[u8]) -> Result<Target<'_>, BadTarget> {
    let end = memchr::memchr3(b'/', b'?', b'#', rest).unwrap_or(rest.len());
    let (raw_authority, rest) = rest.split_at_checked(end).ok_or(BadTarget::Form)?;
    let (raw_path, query) = split(rest)?;
    Ok(Target {
        form: Form::Absolute,
        authority: Some(authority(raw_authority)?),
        path: if raw_path.is_empty() { Cow::Borrowed(&b"/"[..]) } else { path(raw_path)? },
        query,
    })
}

/// What follows `http://` or `https://`, in any case.
fn after_scheme(raw: &[u8]) -> Option<&[u8]> {
    let strip = |scheme: &[u8]| {
        let (front, rest) = raw.split_at_checked(scheme.len())?;
        front.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    strip(b"http://").or_else(|| strip(b"https://"))
}

/// The path and the query, which is checked.
fn split(raw: &[u8]) -> Result<(&[u8], Option<&[u8]>), BadTarget> {
    let Some(mark) = memchr::memchr(b'?', raw) else { return Ok((raw, None)) };
    let query = raw.get(mark + 1..).unwrap_or_default();
    if query.iter().any(|&b| b <= b' ' || b == b'#' || b == 0x7f) {
        return Err(BadTarget::Query);
    }
    Ok((raw.get(..mark).unwrap_or_default(), Some(query)))
}
