//! Answers that this proxy gives itself: errors and redirects.

use std::fmt::Write;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use isthmus_ir::{Redirect, matcher::rewrite};

use super::{Client, decide};
use crate::{
    clock,
    cors::Field,
    http1::{Request, Version, append_field},
};

/// An answer without a backend.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The body, as text; may be empty.
    pub(crate) body: &'static str,
    /// More fields: names in lower case, values that are checked.
    pub(crate) fields: Vec<Field>,
    /// `x-isthmus-unreached: 1`: the caller's proxy may try elsewhere.
    pub(crate) unreached: bool,
}

impl Answer {
    /// An error.
    pub(crate) fn error(status: u16, body: &'static str) -> Self {
        Self { status, body, fields: Vec::new(), unreached: false }
    }

    /// The head of the answer and its body, in HTTP/1.1.
    pub(crate) fn write(&self, persistent: bool, version: Version, head_only: bool, out: &mut Vec<u8>) {
        let body = if self.body.is_empty() { "" } else { self.body };
        let length = if body.is_empty() { 0 } else { body.len() + 1 };
        let mut head = String::with_capacity(192);
        let _ = write!(head, "HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        let _ = write!(head, "date: {}\r\n", clock::http_date());
        if length > 0 {
            head.push_str("content-type: text/plain; charset=utf-8\r\n");
        }
        if self.status != 204 {
            let _ = write!(head, "content-length: {length}\r\n");
        }
        if self.unreached {
            head.push_str("x-isthmus-unreached: 1\r\n");
        }
        match (persistent, version) {
            (false, _) => head.push_str("connection: close\r\n"),
            (true, Version::Http10) => head.push_str("connection: keep-alive\r\n"),
            (true, Version::Http11) => {}
        }
        out.extend_from_slice(head.as_bytes());
        for (name, value) in &self.fields {
            append_field(name.as_bytes(), value, out);
        }
        out.extend_from_slice(b"\r\n");
        if length > 0 && !head_only {
            out.extend_from_slice(body.as_bytes());
            out.push(b'\n');
        }
    }
}

impl Answer {
    /// The answer and its body, for HTTP/2.
    pub(crate) fn response(&self) -> (http::Response<()>, Bytes) {
        let mut response = http::Response::new(());
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or_default();
        let body = if self.body.is_empty() { String::new() } else { format!("{}\n", self.body) };
        let fields = response.headers_mut();
        // What is left out would be no field value; none of these is.
        if let Ok(date) = HeaderValue::from_str(&clock::http_date()) {
            fields.insert(header::DATE, date);
        }
        if !body.is_empty() {
            fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        if self.status != 204 {
            fields.insert(header::CONTENT_LENGTH, body.len().into());
        }
        for (name, value) in &self.fields {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                fields.insert(HeaderName::from_static(name), value);
            }
        }
        (response, body.into())
    }
}

/// The answer that `redirect` gives to `request`, which was matched by `prefix`.
pub(crate) fn redirect(
    redirect: &Redirect,
    request: Request<'_>,
    prefix: Option<&[u8]>,
    client: &Client,
) -> Answer {
    let (Ok(authority), Ok(path)) = (decide::authority(request), decide::path(request)) else {
        return Answer::error(400, "the host or the path is not allowed");
    };
    let asked = rewrite::Asked {
        secure: client.scheme() == "https",
        host: &authority.host,
        port: client.port(),
        path: &path,
        query: request.query(),
    };
    let mut location = Vec::with_capacity(128);
    match rewrite::location(redirect, prefix, asked, &mut location) {
        Ok(()) => {
            let fields = vec![("location", location.into())];
            Answer { fields, ..Answer::error(redirect.status, "") }
        }
        Err(_) => Answer::error(400, "there is nothing to redirect to"),
    }
}

/// The reason phrase of a status that this proxy gives.
fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Status")
}
