//! Listening sockets: bound by the control thread, served by the request threads.
//!
//! One thread accepts on a socket and hands each connection to the less loaded of two threads, itself one
//! of them as often as any other; so a few long connections do not pile up on one core.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    time::Duration,
};

use isthmus_ir::matcher::Bind;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::{net::TcpStream as TokioStream, sync::oneshot};

use crate::{
    connection,
    runtime::{Mailbox, Message},
    thread::Thread,
};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// The pause after an accept that failed for want of file descriptors or memory (cases.md C14).
const EXHAUSTED: Duration = Duration::from_millis(50);

/// What a connection came in by.
#[derive(Clone, Copy)]
pub(crate) struct Socket {
    /// The listeners that it belongs to.
    pub(crate) bind: Bind,
    /// The port that it is really bound to.
    pub(crate) port: u16,
}

/// The sockets that are bound, and those that should be and are not.
#[derive(Default)]
pub(crate) struct Sockets {
    bound: BTreeMap<Bind, Bound>,
    failed: BTreeMap<Bind, io::Error>,
    next: usize,
}

struct Bound {
    thread: usize,
    address: SocketAddr,
}

impl Sockets {
    /// Closes sockets that are not in `wanted` any more and binds those that are not bound yet.
    pub(crate) fn follow(&mut self, wanted: impl Iterator<Item = Bind>, threads: &[Mailbox]) {
        let wanted: Vec<Bind> = wanted.collect();
        self.bound.retain(|bind, bound| {
            let keep = wanted.contains(bind);
            if !keep && let Some(thread) = threads.get(bound.thread) {
                thread.send(Message::Unlisten(*bind));
            }
            keep
        });
        self.failed.retain(|bind, _| wanted.contains(bind));
        for bind in wanted {
            if !self.bound.contains_key(&bind) {
                self.bind(bind, threads);
            }
        }
    }

    /// Tries again what failed; whether anything was bound.
    pub(crate) fn retry(&mut self, threads: &[Mailbox]) -> bool {
        let failed: Vec<Bind> = self.failed.keys().copied().collect();
        let count = failed.len();
        for bind in failed {
            self.bind(bind, threads);
        }
        self.failed.len() < count
    }

    /// Whether none is bound.
    pub(crate) fn is_empty(&self) -> bool {
        self.bound.is_empty()
    }

    /// Sockets that could not be bound, with the reasons.
    pub(crate) fn failed(&self) -> &BTreeMap<Bind, io::Error> {
        &self.failed
    }

    /// The address that `bind` is really bound to.
    pub(crate) fn address(&self, bind: Bind) -> Option<SocketAddr> {
        self.bound.get(&bind).map(|bound| bound.address)
    }

    fn bind(&mut self, bind: Bind, threads: &[Mailbox]) {
        let thread = self.next % threads.len().max(1);
        let result = listen(bind).and_then(|listener| {
            let address = listener.local_addr()?;
            let mailbox = threads.get(thread).ok_or(io::ErrorKind::NotFound)?;
            mailbox.send(Message::Listen(listener, Socket { bind, port: address.port() }));
            Ok(address)
        });
        match result {
            Ok(address) => {
                tracing::info!(%address, "listening");
                self.next += 1;
                self.failed.remove(&bind);
                self.bound.insert(bind, Bound { thread, address });
            }
            Err(error) => {
                let text = error.to_string();
                // It is tried again every second, and said once.
                if self.failed.insert(bind, error).is_none_or(|before| before.to_string() != text) {
                    tracing::warn!(?bind, error = text, "cannot listen");
                }
            }
        }
    }
}

/// Binds. Without an address, or with the unspecified one of IPv6: every address of both families, or of
/// IPv4 where there is no IPv6.
pub(crate) fn listen(bind: Bind) -> io::Result<TcpListener> {
    match bind.address {
        Some(address) if address != IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            listen_on(SocketAddr::new(address, bind.port))
        }
        _ => listen_on(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), bind.port)).or_else(|error| {
            if error.kind() == io::ErrorKind::AddrInUse {
                return Err(error);
            }
            listen_on(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), bind.port))
        }),
    }
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts on `listener` until `closed` is dropped, and then what has connected by then: the kernel would
/// reset it.
pub(crate) async fn accept(
    thread: Rc<Thread>,
    listener: TcpListener,
    socket: Socket,
    mut closed: oneshot::Receiver<()>,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "cannot watch a listening socket");
            return;
        }
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut closed => break,
        };
        match accepted {
            Ok((stream, address)) => place(&thread, stream, address, socket),
            Err(error) if is_transient(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((stream, address)) = listener.accept() {
        if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TokioStream::from_std(stream)) {
            place(&thread, stream, address, socket);
        }
    }
}

/// The client went away before it was accepted.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// Gives a connection to the less loaded of two threads.
fn place(thread: &Rc<Thread>, stream: TokioStream, address: SocketAddr, socket: Socket) {
    if !thread.shared.admit() {
        thread.metrics.connections.refused.add(1);
        return;
    }
    let threads = thread.shared.threads();
    let draw = || usize::try_from(thread.random.below(threads.len() as u64)).unwrap_or(0);
    let (first, second) = (draw(), draw());
    let load = |index: usize| threads.get(index).map_or(usize::MAX, Mailbox::load);
    let chosen = if load(first) <= load(second) { first } else { second };
    if chosen == thread.index || threads.len() == 1 {
        adopt(thread, stream, address, socket);
    } else if let (Some(mailbox), Ok(stream)) = (threads.get(chosen), stream.into_std()) {
        mailbox.send(Message::Connection(stream, address, socket));
    } else {
        thread.shared.release();
    }
}

/// Serves a connection that another thread accepted.
pub(crate) fn adopt_std(thread: &Rc<Thread>, stream: TcpStream, address: SocketAddr, socket: Socket) {
    match TokioStream::from_std(stream) {
        Ok(stream) => adopt(thread, stream, address, socket),
        Err(error) => {
            tracing::warn!(%error, "a connection cannot be watched");
            thread.shared.release();
        }
    }
}

/// Serves a connection on this thread.
fn adopt(thread: &Rc<Thread>, stream: TokioStream, address: SocketAddr, socket: Socket) {
    let connected = Connected::new(thread);
    if stream.set_nodelay(true).is_err() {
        // The client left already.
        return;
    }
    // Awaited in another future it would take its room twice.
    let served = connection::accept(Rc::clone(thread), stream, address, socket, connected);
    tokio::task::spawn_local(served);
}

/// Counts a connection for as long as it lives.
pub(crate) struct Connected(Rc<Thread>);

impl Connected {
    fn new(thread: &Rc<Thread>) -> Self {
        thread.metrics.connections.accepted.add(1);
        thread.metrics.connections.open.add(1);
        thread.mailbox().iter().for_each(|mailbox| mailbox.add_load());
        Self(Rc::clone(thread))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        // The runtime ends a task that panicked, and nothing else (cases.md E14).
        if std::thread::panicking() {
            self.0.metrics.panics.add(1);
        }
        self.0.metrics.connections.open.add(-1);
        self.0.mailbox().iter().for_each(|mailbox| mailbox.remove_load());
        self.0.shared.release();
    }
}
