//! TLS over a socket, without a byte of buffer while the connection is idle.
//!
//! rustls' unbuffered API works on our own buffers, which come from the thread's list when bytes arrive
//! and go back when none are left. What post-handshake messages rustls has to send leaves with the next
//! write, or when a read finds nothing.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustls::{
    ClientConfig, CommonState, ServerConfig,
    client::UnbufferedClientConnection,
    pki_types::ServerName,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, UnbufferedStatus},
};
use tokio::{
    io::{AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{
    buffer::{BULK, Buffer},
    io::poll_fill,
};

/// The most clear text that one write encrypts.
const WRITE: usize = 48 * 1024;
/// Bytes that TLS adds to a record, at most.
const OVERHEAD: usize = 5 + 256;
/// The longest record that a peer may send.
const RECORD: usize = 16 * 1024 + OVERHEAD;

enum Session {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// A TLS connection of either side.
pub(crate) struct TlsStream {
    tcp: TcpStream,
    session: Session,
    /// Records that are not complete yet.
    incoming: Buffer,
    /// Records that are not sent yet.
    outgoing: Buffer,
    /// Decrypted and not read yet.
    clear: Buffer,
    /// The peer has said that it sends no more.
    ended: bool,
    closed: bool,
}

/// What rustls wants after it has looked at what arrived.
enum Wants {
    /// More bytes of the peer, to go on with the handshake.
    Handshake,
    /// Nothing: application data may be written.
    Traffic,
    /// Nothing, and the peer has sent its last byte.
    Ended,
}

impl TlsStream {
    /// The server's side of a connection on which `received` was read already.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub(crate) fn server(
        tcp: TcpStream,
        config: Arc<ServerConfig>,
        received: Buffer,
    ) -> Result<Self, rustls::Error> {
        Ok(Self::new(tcp, Session::Server(UnbufferedServerConnection::new(config)?), received))
    }

    /// The client's side.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub(crate) fn client(
        tcp: TcpStream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        let session = Session::Client(UnbufferedClientConnection::new(config, name)?);
        Ok(Self::new(tcp, session, Buffer::default()))
    }

    fn new(tcp: TcpStream, session: Session, incoming: Buffer) -> Self {
        let (outgoing, clear) = (Buffer::default(), Buffer::default());
        Self { tcp, session, incoming, outgoing, clear, ended: false, closed: false }
    }

    /// What was agreed on: protocol, certificates, ALPN.
    pub(crate) fn agreed(&self) -> &CommonState {
        match &self.session {
            Session::Client(session) => session,
            Session::Server(session) => session,
        }
    }

    pub(crate) fn is_quiet(&self, cx: &mut Context<'_>) -> bool {
        self.clear.is_empty() && !self.ended && self.tcp.poll_read_ready(cx).is_pending()
    }

    /// Drives the handshake. A client's last flight may leave with its first data.
    pub(crate) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.process() {
                Ok(Wants::Traffic) if !self.agreed().is_handshaking() => return Poll::Ready(Ok(())),
                Ok(Wants::Traffic | Wants::Handshake) => {}
                Ok(Wants::Ended) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Err(error) => {
                    return Poll::Ready(Err(self.fail(cx, error)));
                }
            }
            ready!(self.poll_flush(cx))?;
            if ready!(self.poll_receive(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Reads clear text into `out`; 0 is the end.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_clear(cx))?;
        let front = self.clear.filled();
        if out.is_empty() && out.capacity() == 0 {
            // Nothing to copy: the bytes change hands with their storage.
            let read = front.len();
            std::mem::swap(out, &mut self.clear);
            return Poll::Ready(Ok(read));
        }
        let room = out.room_mut();
        let count = front.len().min(room.len());
        if let (Some(to), Some(from)) = (room.get_mut(..count), front.get(..count)) {
            to.copy_from_slice(from);
        }
        out.fill(count);
        self.clear.consume(count);
        self.clear.release();
        Poll::Ready(Ok(count))
    }

    /// The same for tokio's kind of buffer.
    pub(crate) fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_clear(cx))?;
        let front = self.clear.filled();
        let count = front.len().min(out.remaining());
        out.put_slice(front.get(..count).unwrap_or_default());
        self.clear.consume(count);
        self.clear.release();
        Poll::Ready(Ok(()))
    }

    /// Waits for clear text, or for the end.
    fn poll_clear(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.clear.is_empty() && !self.ended {
            let Poll::Ready(received) = self.poll_receive(cx)? else {
                self.incoming.release();
                // Tickets and the like; when they cannot leave now, the next write takes them.
                if self.poll_flush(cx).is_ready() {
                    self.outgoing.release();
                }
                return Poll::Pending;
            };
            if received == 0 {
                // Without close_notify this may be a truncation; HTTP's own framing finds that out.
                self.ended = true;
            } else if let Err(error) = self.process() {
                return Poll::Ready(Err(self.fail(cx, error)));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes from the front of `bytes` what fits.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.outgoing.len() >= BULK {
            ready!(self.poll_flush(cx))?;
        }
        let count = bytes.len().min(WRITE);
        self.encrypt(bytes.get(..count).unwrap_or_default())?;
        if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(count))
    }

    /// Sends the records that are held.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let sent = ready!(Pin::new(&mut self.tcp).poll_write(cx, self.outgoing.filled()))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.consume(sent);
        }
        self.outgoing.release();
        Poll::Ready(Ok(()))
    }

    /// Says goodbye.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed {
            self.closed = true;
            self.close_notify();
        }
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.incoming.room() == 0 {
            self.incoming.compact();
        }
        if self.incoming.room() == 0 {
            // Only handshake messages may span records; the longest that is let through fits.
            if self.incoming.capacity() >= BULK {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "record too long")));
            }
            self.incoming.grow(BULK);
        }
        let received = ready!(poll_fill(&mut self.tcp, cx, &mut self.incoming))?;
        Poll::Ready(Ok(received))
    }

    /// Lets rustls look at what arrived, until it wants more.
    fn process(&mut self) -> io::Result<Wants> {
        let Self { session, incoming, outgoing, clear, .. } = self;
        let wants = loop {
            let (used, next) = match session {
                Session::Client(s) => {
                    step(s.process_tls_records(incoming.filled_mut()), outgoing, clear)
                }
                Session::Server(s) => {
                    step(s.process_tls_records(incoming.filled_mut()), outgoing, clear)
                }
            };
            incoming.consume(used);
            match next {
                Ok(Step::Again) => {}
                Ok(Step::Rest(wants)) => break Ok(wants),
                Err(error) => break Err(error),
            }
        };
        if matches!(wants, Ok(Wants::Ended)) {
            self.ended = true;
        }
        self.incoming.compact();
        self.incoming.release();
        wants
    }

    /// Sends the alert that says why; when it cannot leave at once the peer learns nothing.
    fn fail(&mut self, cx: &mut Context<'_>, error: io::Error) -> io::Error {
        self.alert();
        let _ = self.poll_flush(cx);
        error
    }

    /// Puts the alert that says why into what is to be sent, after an error.
    fn alert(&mut self) {
        let Self { session, incoming, outgoing, clear, .. } = self;
        for _ in 0..4 {
            let (used, next) = match session {
                Session::Client(s) => {
                    step(s.process_tls_records(incoming.filled_mut()), outgoing, clear)
                }
                Session::Server(s) => {
                    step(s.process_tls_records(incoming.filled_mut()), outgoing, clear)
                }
            };
            incoming.consume(used);
            if !matches!(next, Ok(Step::Again)) {
                return;
            }
        }
    }
}

// The two sides differ only in the type of their data, which rustls keeps to itself. It remembers places
// in what arrived, and must always be shown all of it.
macro_rules! with_traffic {
    ($session:expr, $incoming:expr, |$traffic:ident| $act:expr) => {{
        let (used, result) = match $session {
            Session::Client(session) => {
                let status = session.process_tls_records($incoming.filled_mut());
                let result = match status.state {
                    Ok(ConnectionState::WriteTraffic(mut $traffic)) => Some($act),
                    _ => None,
                };
                (status.discard, result)
            }
            Session::Server(session) => {
                let status = session.process_tls_records($incoming.filled_mut());
                let result = match status.state {
                    Ok(ConnectionState::WriteTraffic(mut $traffic)) => Some($act),
                    _ => None,
                };
                (status.discard, result)
            }
        };
        $incoming.consume(used);
        result
    }};
}

impl TlsStream {
    fn encrypt(&mut self, bytes: &[u8]) -> io::Result<()> {
        // What rustls wants to send first: a key update's answer.
        self.process()?;
        let records = bytes.len() / (16 * 1024) + 1;
        let needed = bytes.len() + records * OVERHEAD;
        make_room(&mut self.outgoing, needed);
        let Self { session, incoming, outgoing, .. } = self;
        let room = outgoing.room_mut();
        let written = with_traffic!(session, incoming, |traffic| traffic.encrypt(bytes, room));
        match written {
            Some(Ok(count)) => {
                self.outgoing.fill(count);
                Ok(())
            }
            Some(Err(error)) => Err(io::Error::other(error.to_string())),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn close_notify(&mut self) {
        if self.process().is_err() {
            return;
        }
        make_room(&mut self.outgoing, OVERHEAD);
        let Self { session, incoming, outgoing, .. } = self;
        let room = outgoing.room_mut();
        let written = with_traffic!(session, incoming, |traffic| traffic.queue_close_notify(room));
        if let Some(Ok(count)) = written {
            self.outgoing.fill(count);
        }
    }
}

fn make_room(buffer: &mut Buffer, needed: usize) {
    if buffer.room() < needed {
        buffer.compact();
    }
    if buffer.room() < needed {
        buffer.grow((buffer.len() + needed).next_power_of_two());
    }
}

/// What follows one step of rustls.
enum Step {
    Again,
    Rest(Wants),
}

/// Carries out what rustls asks for. Returns how many bytes of the incoming ones are used up.
fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    outgoing: &mut Buffer,
    clear: &mut Buffer,
) -> (usize, io::Result<Step>) {
    let next = match status.state {
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let mut result = Ok(Step::Again);
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => clear.append(record.payload),
                    Err(error) => result = Err(io::Error::new(io::ErrorKind::InvalidData, error)),
                }
            }
            result
        }
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            make_room(outgoing, RECORD);
            if let Err(EncodeError::InsufficientSize(needed)) =
                data.encode(outgoing.room_mut()).map(|n| outgoing.fill(n))
            {
                make_room(outgoing, needed.required_size);
                let _ = data.encode(outgoing.room_mut()).map(|n| outgoing.fill(n));
            }
            Ok(Step::Again)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // It is sent from `outgoing`, in order with everything else.
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::Rest(Wants::Handshake)),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Rest(Wants::Traffic)),
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Ok(Step::Rest(Wants::Ended)),
        Ok(_) => Err(io::Error::other("early data is not accepted")),
    };
    (status.discard, next)
}
