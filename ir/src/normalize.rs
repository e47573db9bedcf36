//! The one normalisation of paths and authorities, for routing, authorization and `explain` alike.
//!
//! Whatever decides by a request's path or host sees what these functions return, and so does the
//! backend: a proxy forwards the normalised path, never the one that it received. What has two
//! plausible readings is refused with 400 instead of being read. Nothing here knows of routes.
//!
//! | what | answer |
//! |---|---|
//! | [`target`] | an HTTP/1 request target: its form, authority, path and query |
//! | [`origin`] | an HTTP/2 `:path` |
//! | [`path`] | a path without its query |
//! | [`authority`] | a `Host` field or an `:authority` |
//! | [`server_name`] | the name of a TLS `ClientHello` |
//!
//! None of them allocates when the input is already normal, and none panics on any input.

mod authority;
mod path;
mod target;
#[cfg(test)]
mod tests;

pub use authority::{Authority, BadAuthority, authority, server_name};
pub use path::{BadPath, path};
pub use target::{BadTarget, Form, Target, origin, target};

/// The value of a hexadecimal digit.
pub(crate) fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
