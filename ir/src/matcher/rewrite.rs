//! New paths and redirect locations (Gateway API, `HTTPPathModifier` and `HTTPRequestRedirectFilter`).
//!
//! Pure functions of the filter, of how the request was matched, and of the request. What comes out is in
//! normal form again, whatever was put in. The query is never part of what is replaced.

use std::borrow::Cow;

use crate::{
    PathRewrite, Redirect,
    normalize::{self, BadAuthority, BadPath},
};

/// Why there is no new path or location. The request gets 400; routes that [`check`] accepts lead to none
/// of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadRewrite {
    /// A prefix is to be replaced, and the path was not matched by one.
    #[error("the path was not matched by a prefix that could be replaced")]
    NoPrefix,
    /// The new path has no normal form.
    #[error("the new path is not allowed: {0}")]
    Path(#[from] BadPath),
    /// The new host is none.
    #[error("the new host is not allowed: {0}")]
    Host(#[from] BadAuthority),
}

/// Whether a rewrite gives an allowed path for each request (that was matched by a prefix).
///
/// # Errors
/// What is wrong with the replacement.
pub fn check(rewrite: &PathRewrite) -> Result<(), BadPath> {
    let (PathRewrite::Full(text) | PathRewrite::Prefix(text)) = rewrite;
    let mut whole = Vec::new();
    append(text.trim_end_matches('/'), b"", &mut whole);
    normalize::path(&whole).map(drop)
}

/// Appends the path that the backend is to see to `out`.
///
/// `prefix` is [`Winner::prefix`](super::Winner::prefix); `path` the request's, in normal form. A
/// replacement without leading slash gets one.
///
/// # Errors
/// See [`BadRewrite`]; nothing is appended then.
///
/// ```
/// use isthmus_ir::{matcher::rewrite, PathRewrite};
/// let mut out = Vec::new();
/// let by = PathRewrite::Prefix("/xyz/".into());
/// rewrite::path(&by, Some(b"/foo"), b"/foo/bar", &mut out).unwrap();
/// assert_eq!(out, b"/xyz/bar");
/// ```
pub fn path(
    rewrite: &PathRewrite,
    prefix: Option<&[u8]>,
    path: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), BadRewrite> {
    let start = out.len();
    match rewrite {
        PathRewrite::Full(text) => append(text, b"", out),
        PathRewrite::Prefix(text) => {
            let rest =
                prefix.and_then(|prefix| path.strip_prefix(prefix)).ok_or(BadRewrite::NoPrefix)?;
            append(text.trim_end_matches('/'), rest, out);
        }
    }
    let normal = match normalize::path(out.get(start..).unwrap_or_default()) {
        Ok(Cow::Borrowed(_)) => return Ok(()),
        Ok(Cow::Owned(normal)) => Ok(normal),
        Err(why) => Err(why),
    };
    out.truncate(start);
    out.extend(normal?);
    Ok(())
}

/// Appends `front` and `rest` as one path that begins with a slash.
fn append(front: &str, rest: &[u8], out: &mut Vec<u8>) {
    let rooted = if front.is_empty() { rest.starts_with(b"/") } else { front.starts_with('/') };
    if !rooted {
        out.push(b'/');
    }
    out.extend(front.as_bytes());
    out.extend(rest);
}

/// What a client asked for, as far as a redirect takes it over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked<'a> {
    /// Whether it came inside TLS.
    pub secure: bool,
    /// The host, in normal form.
    pub host: &'a str,
    /// The listener's port.
    pub port: u16,
    /// The path, in normal form.
    pub path: &'a [u8],
    /// The query as it came.
    pub query: Option<&'a [u8]>,
}

/// Appends the value of `Location` to `out`.
///
/// Without a port in the redirect it is the well-known one of the redirect's scheme, or that of the
/// listener when the redirect has no scheme. A port that is the scheme's well-known one is not written.
/// The query is kept.
///
/// # Errors
/// See [`BadRewrite`]; `out` may hold a part then.
pub fn location(
    redirect: &Redirect,
    prefix: Option<&[u8]>,
    asked: Asked<'_>,
    out: &mut Vec<u8>,
) -> Result<(), BadRewrite> {
    let scheme = redirect.scheme.as_deref().unwrap_or(if asked.secure { "https" } else { "http" });
    let known = well_known(scheme);
    let port = redirect.port.or(redirect.scheme.as_ref().and(known)).unwrap_or(asked.port);
    let named =
        redirect.hostname.as_ref().map(|name| normalize::authority(name.as_bytes())).transpose()?;
    out.extend(scheme.as_bytes());
    out.extend(b"://");
    out.extend(named.as_ref().map_or(asked.host, |named| &named.host).as_bytes());
    if known != Some(port) {
        out.extend(format!(":{port}").as_bytes());
    }
    match &redirect.path {
        Some(rewrite) => path(rewrite, prefix, asked.path, out)?,
        None => out.extend(asked.path),
    }
    if let Some(query) = asked.query {
        out.push(b'?');
        out.extend(query);
    }
    Ok(())
}

fn well_known(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::{Asked, BadRewrite, check, location, path};
    use crate::{
        PathRewrite, Redirect,
        normalize::{self, BadAuthority, BadPath},
    };

    fn rewritten(by: &PathRewrite, prefix: Option<&str>, of: &str) -> Result<String, BadRewrite> {
        let mut out = b"kept".to_vec();
        let result = path(by, prefix.map(str::as_bytes), of.as_bytes(), &mut out);
        let text = String::from_utf8(out).unwrap();
        let appended = text.strip_prefix("kept").unwrap().to_owned();
        assert!(result.is_ok() || appended.is_empty());
        result.map(|()| appended)
    }

    /// `prefix` as the matcher tells it: without trailing slash.
    fn replaced(path: &str, prefix: &str, by: &str) -> String {
        rewritten(&PathRewrite::Prefix(by.to_owned()), Some(prefix.trim_end_matches('/')), path).unwrap()
    }

    #[test]
    fn prefixes_are_replaced_as_the_specifications_table_says() {
        for (path, prefix, by, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            // Beyond the table.
            ("/bar", "/", "/xyz", "/xyz/bar"),
            ("/", "/", "/xyz", "/xyz/"),
            ("/", "/", "", "/"),
            ("/foo/bar", "/foo", "xyz", "/xyz/bar"),
            ("/strip-prefix/three", "/strip-prefix", "/", "/three"),
        ] {
            assert_eq!(replaced(path, prefix, by), expected, "{path} {prefix} {by:?}");
        }
    }

    #[test]
    fn full_paths_are_replaced_whole() {
        let full = |text: &str| rewritten(&PathRewrite::Full(text.to_owned()), None, "/a/b");
        assert_eq!(full("/one").as_deref(), Ok("/one"));
        assert_eq!(full("/one/").as_deref(), Ok("/one/"));
        assert_eq!(full("one").as_deref(), Ok("/one"));
        assert_eq!(full("").as_deref(), Ok("/"));
        assert_eq!(full("/caf\u{e9}/%7e").as_deref(), Ok("/caf%C3%A9/~"));
    }

    #[test]
    fn b4_what_comes_out_is_normal_or_refused() {
        assert_eq!(replaced("/api/x", "/api", "/a/../b//c"), "/b/c/x");
        let prefix = |by: &str| PathRewrite::Prefix(by.to_owned());
        assert_eq!(rewritten(&prefix("/.."), Some("/api"), "/api/x"), Err(BadPath::AboveRoot.into()));
        assert_eq!(rewritten(&prefix("/a%2f"), Some(""), "/x"), Err(BadPath::EscapedSlash.into()));
        assert_eq!(
            rewritten(&PathRewrite::Full("/a?b".into()), None, "/x"),
            Err(BadPath::Delimiter.into())
        );
        assert_eq!(rewritten(&prefix("/a"), None, "/x"), Err(BadRewrite::NoPrefix));
        assert_eq!(check(&prefix("/..")), Err(BadPath::AboveRoot));
        assert_eq!(check(&PathRewrite::Full("/a\r\nb".into())), Err(BadPath::Control));
        assert_eq!(check(&prefix("")), Ok(()));
    }

    proptest! {
        #[test]
        fn b4_what_passes_the_check_is_rewritten_to_a_normal_path(
            by in "[/.a%2f;x]{0,8}", rest in "(/[a-z.]{1,3}){0,3}/?", full in any::<bool>(),
        ) {
            let by = if full { PathRewrite::Full(by) } else { PathRewrite::Prefix(by) };
            let raw = format!("/p{rest}");
            let normal = normalize::path(raw.as_bytes()).ok().map(Cow::into_owned);
            let Some(path) = normal.and_then(|path| String::from_utf8(path).ok()) else { return Ok(()) };
            prop_assume!(path.starts_with("/p"));
            match rewritten(&by, Some("/p"), &path) {
                Ok(new) => prop_assert_eq!(&*normalize::path(new.as_bytes()).unwrap(), new.as_bytes()),
                Err(_) => prop_assert!(check(&by).is_err()),
            }
        }
    }

    fn redirect() -> Redirect {
        Redirect { scheme: None, hostname: None, path: None, port: None, status: 302 }
    }

    fn located(redirect: &Redirect, secure: bool, port: u16) -> Result<String, BadRewrite> {
        let asked = Asked { secure, host: "a.com", port, path: b"/p/q", query: Some(b"x=1") };
        let mut out = Vec::new();
        location(redirect, Some(b"/p"), asked, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn ports_of_locations_are_as_the_conformance_suite_has_them() {
        let some =
            |scheme: Option<&str>, port| Redirect { scheme: scheme.map(Into::into), port, ..redirect() };
        for (listener, secure, scheme, port, expected) in [
            (80, false, None, None, "http://a.com"),
            (80, false, None, Some(80), "http://a.com"),
            (80, false, None, Some(8080), "http://a.com:8080"),
            (80, false, Some("https"), None, "https://a.com"),
            (80, false, Some("https"), Some(443), "https://a.com"),
            (80, false, Some("https"), Some(8443), "https://a.com:8443"),
            (8080, false, None, None, "http://a.com:8080"),
            (8080, false, None, Some(80), "http://a.com"),
            (8080, false, Some("https"), None, "https://a.com"),
            (8080, false, Some("http"), None, "http://a.com"),
            (443, true, None, None, "https://a.com"),
            (443, true, None, Some(443), "https://a.com"),
            (443, true, None, Some(8443), "https://a.com:8443"),
            (443, true, Some("http"), None, "http://a.com"),
            (8443, true, None, None, "https://a.com:8443"),
        ] {
            let location = located(&some(scheme, port), secure, listener).unwrap();
            assert_eq!(location, format!("{expected}/p/q?x=1"), "{listener} {scheme:?} {port:?}");
        }
    }

    #[test]
    fn locations_take_over_what_the_redirect_leaves_open() {
        let hostname = Some("Example.ORG".to_owned());
        let full = Redirect { hostname, path: Some(PathRewrite::Full("/new".into())), ..redirect() };
        assert_eq!(located(&full, false, 80).as_deref(), Ok("http://example.org/new?x=1"));
        let prefix = Redirect { path: Some(PathRewrite::Prefix("/r".into())), ..redirect() };
        assert_eq!(located(&prefix, false, 80).as_deref(), Ok("http://a.com/r/q?x=1"));
    }

    #[test]
    fn a14_a_location_holds_no_line_break() {
        let host = Redirect { hostname: Some("a.com\r\nx: y".into()), ..redirect() };
        assert_eq!(located(&host, false, 80), Err(BadRewrite::Host(BadAuthority::Character)));
        let path = Redirect { path: Some(PathRewrite::Full("/\r\n".into())), ..redirect() };
        assert_eq!(located(&path, false, 80), Err(BadRewrite::Path(BadPath::Control)));
    }
}
