//! Small words that requests and responses share: method, version, framing, progress.

use super::HeadError;

/// How far a head was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parse {
    /// More bytes are needed.
    Partial,
    /// The head is complete and has so many bytes.
    Complete(usize),
}

/// A method (RFC 9110, section 9), as far as the proxy treats it in a way of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Method {
    /// `GET`
    #[default]
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `CONNECT`
    Connect,
    /// `OPTIONS`
    Options,
    /// `TRACE`
    Trace,
    /// `PATCH`
    Patch,
    /// Any other.
    Other,
}

impl Method {
    /// The method that is written so.
    pub fn of(bytes: &[u8]) -> Self {
        match bytes {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// Whether a request may be sent again when nobody knows what became of it (RFC 9110, section 9.2.2).
    pub fn is_idempotent(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options | Self::Trace)
    }
}

/// The version of a message. Everything else is refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, no interim answers, one message a connection unless asked.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

impl Version {
    /// Reads `HTTP-version`; what is no version at all is `malformed`.
    pub(super) fn parse(bytes: &[u8], malformed: HeadError) -> Result<Self, HeadError> {
        match bytes {
            b"HTTP/1.1" => Ok(Self::Http11),
            b"HTTP/1.0" => Ok(Self::Http10),
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(HeadError::Version),
            _ => Err(malformed),
        }
    }
}

/// Where the content of a message ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// It has none: the next byte belongs to the next message.
    None,
    /// So many bytes, at least one.
    Length(u64),
    /// The chunked coding says.
    Chunked,
    /// With the connection.
    UntilClose,
    /// It is no message any more: bytes go both ways.
    Tunnel,
}
