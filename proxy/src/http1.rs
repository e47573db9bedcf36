//! HTTP/1.1 messages, strictly (RFC 9112): heads and bodies of requests and responses, in both directions.
//!
//! Decided here, from bytes alone: what is a message, where it ends, and how it is written for the next
//! hop. No I/O, no clock, no routing. A head is a flat array of places in the buffer that it was read from
//! ([`RequestHead`], [`ResponseHead`]: scratch of a connection, used again for each message); its bytes stay
//! with the caller, who puts both together by `view`. A body is cut out of the input by [`BodyDecoder`].
//! [`Edits`] writes a head with changes and copies the rest in runs.
//!
//! Whatever two implementations could read in two ways is refused: the reader is at least as strict as
//! nginx, Node and Go's net/http together, but where `testdata/http1/differential.txt` says so and why.

mod body;
mod chunk;
mod error;
mod facts;
mod fields;
mod forward;
mod limits;
mod message;
mod name;
mod request;
mod response;
mod scan;
mod section;
mod trailers;

pub(crate) use forward::append_field;
pub(crate) use trailers::TrailerSection;

pub use body::{BodyDecoder, Piece};
pub use chunk::{write_chunk, write_chunk_size, write_end, write_trailer};
pub use error::{BodyError, HeadError};
pub use fields::{FieldView, FieldsView};
pub use forward::{BodyCoding, Edits, InvalidValue, Persistence};
pub use limits::{BodyLimits, Limits};
pub use message::{Framing, Method, Parse, Version};
pub use name::{FieldName, Known};
pub use request::{Request, RequestHead, TargetForm};
pub use response::{Response, ResponseHead};
