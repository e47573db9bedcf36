//! What our reader makes of a whole connection's bytes, given in any fragments.

use std::fmt;

use isthmus_proxy::http1::{BodyDecoder, BodyError, BodyLimits, HeadError, Limits, Parse, RequestHead};

/// A message that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Its method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Whom it is for; `-` when nobody says.
    pub authority: String,
    /// Names in lower case, and values.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Its content.
    pub body: Vec<u8>,
}

/// How the reading ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// After a message; another may follow.
    Keep,
    /// After a message; none may follow.
    Close,
    /// Within a message.
    Wait,
    /// A head was refused.
    Head(HeadError),
    /// A body was refused.
    Body(BodyError),
}

/// All that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connection {
    /// Complete messages.
    pub messages: Vec<Message>,
    /// The end.
    pub end: End,
}

/// Escapes what is not printable; `-` for nothing.
pub fn show(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        "-".to_owned()
    } else {
        bytes.escape_ascii().to_string().replace("\\\"", "\"")
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.method, self.target, self.authority, show(&self.body))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("keep"),
            Self::Close => f.write_str("close"),
            Self::Wait => f.write_str("wait"),
            Self::Head(error) => write!(f, "{} {error:?}", error.status()),
            Self::Body(error) => write!(f, "400 {error:?}"),
        }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for message in &self.messages {
            writeln!(f, "{message}")?;
        }
        writeln!(f, "{}", self.end)
    }
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

/// Reads with default limits.
pub fn read(input: &[u8]) -> Connection {
    read_fragments(&[input], Limits::default())
}

/// Reads what arrives in fragments, as a proxy does: what is consumed is dropped from the buffer.
pub fn read_fragments(fragments: &[&[u8]], limits: Limits) -> Connection {
    let mut reader = Reader::new(limits);
    for fragment in fragments {
        reader.buffer.extend_from_slice(fragment);
        if let Some(end) = reader.run() {
            return Connection { messages: reader.messages, end };
        }
    }
    let at_rest = reader.body.is_none() && reader.buffer.is_empty() && !reader.messages.is_empty();
    Connection { messages: reader.messages, end: if at_rest { End::Keep } else { End::Wait } }
}

struct Reader {
    head: RequestHead,
    buffer: Vec<u8>,
    body: Option<(Message, BodyDecoder, bool)>,
    messages: Vec<Message>,
}

impl Reader {
    fn new(limits: Limits) -> Self {
        Self { head: RequestHead::new(limits), buffer: Vec::new(), body: None, messages: Vec::new() }
    }

    /// Reads what is there; the end, when it is final.
    fn run(&mut self) -> Option<End> {
        loop {
            match self.body.take() {
                None => match self.head.parse(&self.buffer) {
                    Err(error) => return Some(End::Head(error)),
                    Ok(Parse::Partial) => return None,
                    Ok(Parse::Complete(len)) => self.begin(len),
                },
                Some((mut message, mut decoder, persistent)) => {
                    while !decoder.is_done() && !self.buffer.is_empty() {
                        let piece = match decoder.decode(&self.buffer) {
                            Err(error) => return Some(End::Body(error)),
                            Ok(piece) => piece,
                        };
                        assert!(piece.consumed > 0, "a decoder that takes nothing would spin");
                        message.body.extend_from_slice(&self.buffer[piece.data.clone()]);
                        self.buffer.drain(..piece.consumed);
                    }
                    if !decoder.is_done() {
                        self.body = Some((message, decoder, persistent));
                        return None;
                    }
                    self.messages.push(message);
                    if !persistent {
                        return Some(End::Close);
                    }
                    if self.buffer.is_empty() {
                        return None;
                    }
                }
            }
        }
    }

    fn begin(&mut self, len: usize) {
        let request = self.head.view(&self.buffer);
        assert_eq!(request.head_len(), len);
        let query = request.query().map(|q| format!("?{}", text(q))).unwrap_or_default();
        let fields = request.fields().iter();
        let message = Message {
            method: text(request.method_bytes()),
            target: format!("{}{query}", text(request.path())),
            authority: request.authority().map_or_else(|| "-".to_owned(), text),
            fields: fields.map(|f| (text(f.name).to_ascii_lowercase(), f.value.to_vec())).collect(),
            body: Vec::new(),
        };
        let decoder = BodyDecoder::new(request.framing(), BodyLimits::default());
        self.body = Some((message, decoder, request.is_persistent()));
        self.head.clear();
        self.buffer.drain(..len);
    }
}
