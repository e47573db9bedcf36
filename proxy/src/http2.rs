//! HTTP/2 for the proxy, on the `h2` crate: settings with every limit that it offers, and heads between its
//! form and ours.
//!
//! Decided here: how much of a stranger's frames is borne, and what an HTTP/2 head means in HTTP/1.1 and
//! the other way round (RFC 9113, section 8). What comes in is written as a head of HTTP/1.1 and read by
//! the strict reader of [`http1`](crate::http1), so that routing, authorization and edits see one form and
//! one set of rules. Pure functions, no I/O: streams and bodies are the connection's.

mod inbound;
mod outbound;
mod settings;
mod trailers;

pub use inbound::{read_request, read_response};
pub use outbound::{Scheme, write_request, write_response};
pub use settings::{Settings, preface};
pub use trailers::{Trailers, trailer_map};
