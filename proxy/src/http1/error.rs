//! Why a head or a body is refused, and with which status.
//!
//! After any of these the connection cannot be used again: nobody knows where the next message begins.

/// Why a head is refused. A request is answered with [`HeadError::status`]; a response that is refused
/// becomes 502.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum HeadError {
    /// A bare carriage return or line feed (RFC 9112, section 2.2).
    #[error("a line does not end in CR LF")]
    LineEnd,
    /// More empty lines before the start line than are tolerated.
    #[error("too many empty lines before the request line")]
    BlankLines,
    /// Not `method SP target SP version`.
    #[error("the request line is malformed")]
    RequestLine,
    /// Not `version SP status [SP reason]`.
    #[error("the status line is malformed")]
    StatusLine,
    /// A method that only someone who wants two readings of it would send: with small letters, or longer
    /// than any that is registered.
    #[error("the method is not implemented")]
    Method,
    /// The request target is in none of the four forms of RFC 9112, section 3.2, or holds a byte that no
    /// target has.
    #[error("the request target is malformed")]
    Target,
    /// The request target has a fragment.
    #[error("the request target has a fragment")]
    Fragment,
    /// The request line is longer than the limit.
    #[error("the request line is too long")]
    TargetTooLong,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    #[error("the protocol version is not supported")]
    Version,
    /// An empty name, white space before the colon, or a byte that no name has.
    #[error("a field name is malformed")]
    FieldName,
    /// A control byte in a value.
    #[error("a field value holds a control byte")]
    FieldValue,
    /// A continuation line (obs-fold).
    #[error("a field is folded over several lines")]
    Fold,
    /// The head is longer than the limit.
    #[error("the head is too long")]
    TooLarge,
    /// The head has more fields than the limit.
    #[error("the head has too many fields")]
    TooManyFields,
    /// HTTP/1.1 without `Host`.
    #[error("the Host field is missing")]
    HostMissing,
    /// More than one `Host`.
    #[error("the Host field is repeated")]
    HostRepeated,
    /// A `Host`, or the authority of a target, that is no host with an optional port.
    #[error("the host is malformed")]
    HostInvalid,
    /// An HTTP/2 request whose `:authority` and `host` differ (RFC 9113, section 8.3.1).
    #[error("the authority and the Host field differ")]
    HostConflict,
    /// A field about a connection in an HTTP/2 message (RFC 9113, section 8.2.2).
    #[error("an HTTP/2 message has a field about an HTTP/1.1 connection")]
    ConnectionField,
    /// A `Content-Length` that is no decimal number without leading zeros, or does not fit.
    #[error("the Content-Length field is malformed")]
    LengthInvalid,
    /// More than one `Content-Length`, equal or not.
    #[error("the Content-Length field is repeated")]
    LengthRepeated,
    /// Both framings at once.
    #[error("both Content-Length and Transfer-Encoding are present")]
    LengthAndEncoding,
    /// More than one `Transfer-Encoding`.
    #[error("the Transfer-Encoding field is repeated")]
    EncodingRepeated,
    /// A `Transfer-Encoding` whose last coding is not chunked, or that has chunked twice.
    #[error("the Transfer-Encoding field is malformed")]
    EncodingInvalid,
    /// A transfer coding before chunked.
    #[error("a transfer coding other than chunked is not implemented")]
    EncodingUnsupported,
    /// `Transfer-Encoding` in HTTP/1.0.
    #[error("HTTP/1.0 has no Transfer-Encoding")]
    EncodingInHttp10,
    /// An expectation other than `100-continue`.
    #[error("the expectation cannot be met")]
    Expectation,
    /// 101 that nobody asked for.
    #[error("the upstream switched to a protocol that was not asked for")]
    UnaskedSwitch,
    /// CONNECT with content, which has no meaning.
    #[error("a CONNECT request has no content")]
    ConnectContent,
}

impl HeadError {
    /// The status that answers a request with such a head.
    pub fn status(self) -> u16 {
        match self {
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::TooLarge | Self::TooManyFields => 431,
            Self::Method | Self::EncodingUnsupported => 501,
            Self::Version => 505,
            _ => 400,
        }
    }
}

/// Why a body is refused. There is nothing left to answer with but a closed connection, unless nothing was
/// forwarded yet: then 400 for a request, 502 for a response.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum BodyError {
    /// A chunk size that is no hexadecimal number of at most 16 digits, or does not fit.
    #[error("a chunk size is malformed")]
    ChunkSize,
    /// A control byte in a chunk extension, or extensions longer than the limit.
    #[error("a chunk extension is malformed or too long")]
    ChunkExtension,
    /// A bare carriage return or line feed in the framing, or data beyond the size of its chunk.
    #[error("a line of the chunked framing does not end in CR LF")]
    LineEnd,
    /// A field of the trailer section is malformed.
    #[error("a trailer field is malformed")]
    Trailer(#[source] HeadError),
    /// The trailer section is longer, or has more fields, than the limit.
    #[error("the trailer section is too long")]
    TrailerTooLarge,
    /// The connection ended before the body did.
    #[error("the connection ended within the body")]
    Incomplete,
}
