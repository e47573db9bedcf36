//! Heads that came by HTTP/2, as heads of HTTP/1.1 (RFC 9113, sections 8.2 and 8.3).
//!
//! What HTTP/2 says outside of fields becomes a start line, `host` and framing; then the strict reader has
//! the last word. What could mean something else in HTTP/1.1 than in HTTP/2 is refused before it is written.

use h2::ext::Protocol;
use http::{HeaderMap, Method, header};

use crate::http1::{HeadError, Known, Parse, RequestHead, ResponseHead, append_field};

/// Writes the request's head into `text` (which is cleared) and reads it into `head`. `ended` says that the
/// stream has no content. A body of unknown length is framed as chunked.
///
/// # Errors
/// When the request is malformed; it is answered with the error's status.
pub fn read_request<B>(
    request: &http::Request<B>,
    ended: bool,
    text: &mut Vec<u8>,
    head: &mut RequestHead,
) -> Result<(), HeadError> {
    text.clear();
    head.clear();
    let connect = request.method() == Method::CONNECT;
    let authority = authority(request)?;
    let target = target(request, authority)?;
    for part in [request.method().as_str().as_bytes(), b" ", target, b" HTTP/1.1\r\n"] {
        text.extend_from_slice(part);
    }
    append_field(b"host", authority, text);
    append_fields(request.headers(), text)?;
    if !connect {
        let length = request.headers().get(header::CONTENT_LENGTH);
        match length {
            Some(length) if ended && length != "0" => return Err(HeadError::LengthInvalid),
            None if !ended => append_field(b"transfer-encoding", b"chunked", text),
            _ => {}
        }
    }
    text.extend_from_slice(b"\r\n");
    complete(head.parse(text)?, text.len(), HeadError::RequestLine)
}

/// Writes the head of an answer to `method` into `text` (which is cleared) and reads it into `head`, as
/// [`read_request`] does.
///
/// # Errors
/// When the answer is malformed; the client gets 502.
pub fn read_response<B>(
    response: &http::Response<B>,
    method: crate::http1::Method,
    ended: bool,
    text: &mut Vec<u8>,
    head: &mut ResponseHead,
) -> Result<(), HeadError> {
    text.clear();
    head.clear();
    let status = response.status();
    if status == http::StatusCode::SWITCHING_PROTOCOLS {
        // RFC 9113, section 8.6.
        return Err(HeadError::UnaskedSwitch);
    }
    text.extend_from_slice(b"HTTP/1.1 ");
    text.extend_from_slice(status.as_str().as_bytes());
    text.extend_from_slice(b" ");
    text.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    text.extend_from_slice(b"\r\n");
    append_fields(response.headers(), text)?;
    let bodiless = method == crate::http1::Method::Head || matches!(status.as_u16(), ..200 | 204 | 304);
    let length = response.headers().get(header::CONTENT_LENGTH);
    match length {
        Some(length) if ended && !bodiless && length != "0" => return Err(HeadError::LengthInvalid),
        None if ended && !bodiless => append_field(b"content-length", b"0", text),
        None if !ended && !bodiless => append_field(b"transfer-encoding", b"chunked", text),
        _ => {}
    }
    text.extend_from_slice(b"\r\n");
    complete(head.parse(text)?, text.len(), HeadError::StatusLine)
}

/// Nothing that was written may end the head before its end.
fn complete(parse: Parse, len: usize, otherwise: HeadError) -> Result<(), HeadError> {
    if parse == Parse::Complete(len) { Ok(()) } else { Err(otherwise) }
}

/// Whom the request is for: `:authority`, or the only `host`, and both when they agree (cases.md B15).
fn authority<B>(request: &http::Request<B>) -> Result<&[u8], HeadError> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().map(http::HeaderValue::as_bytes);
    if hosts.next().is_some() {
        return Err(HeadError::HostRepeated);
    }
    match (request.uri().authority().map(|a| a.as_str().as_bytes()), host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            Err(HeadError::HostConflict)
        }
        (Some(authority), _) => Ok(authority),
        (None, Some(host)) => Ok(host),
        (None, None) => Err(HeadError::HostMissing),
    }
}

/// The target of the request line (cases.md B14): a `:path` that does not begin with a slash would become
/// another form of target in HTTP/1.1.
fn target<'a, B>(request: &'a http::Request<B>, authority: &'a [u8]) -> Result<&'a [u8], HeadError> {
    if request.extensions().get::<Protocol>().is_some() {
        // Extended CONNECT (RFC 8441), which our settings do not offer.
        return Err(HeadError::Method);
    }
    let path = request.uri().path_and_query().map(|path| path.as_str().as_bytes());
    match path {
        None if request.method() == Method::CONNECT => Ok(authority),
        Some(path @ [b'/', ..]) if request.method() != Method::CONNECT => Ok(path),
        Some(path @ b"*") if request.method() == Method::OPTIONS => Ok(path),
        _ => Err(HeadError::Target),
    }
}

/// All fields but the host; crumbs of cookies are put together (RFC 9113, section 8.2.3).
fn append_fields(fields: &HeaderMap, text: &mut Vec<u8>) -> Result<(), HeadError> {
    for (name, value) in fields {
        let name = name.as_str().as_bytes();
        match Known::of(name) {
            Known::Host | Known::Cookie => {}
            Known::Te if !value.as_bytes().eq_ignore_ascii_case(b"trailers") => {
                return Err(HeadError::ConnectionField);
            }
            Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade => return Err(HeadError::ConnectionField),
            _ => append_field(name, value.as_bytes(), text),
        }
    }
    append_cookies(fields, text);
    Ok(())
}

fn append_cookies(fields: &HeaderMap, text: &mut Vec<u8>) {
    let mut front: &[u8] = b"cookie: ";
    for crumb in fields.get_all(header::COOKIE) {
        text.extend_from_slice(front);
        text.extend_from_slice(crumb.as_bytes());
        front = b"; ";
    }
    if fields.contains_key(header::COOKIE) {
        text.extend_from_slice(b"\r\n");
    }
}
