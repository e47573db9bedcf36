//! How a connection is let in: what is spoken on its socket, and the handshake that this takes.

use std::{future::poll_fn, io, net::SocketAddr, rc::Rc, sync::Arc, task::Poll};

use isthmus_ir::{HandleTarget, Name, Protocol, normalize};
use tokio::net::TcpStream;

use super::{
    Client, Door,
    http1::Http1Connection,
    http2::serve_http2,
    serve::{Ended, serve_http1},
    tunnel,
};
use crate::{
    buffer::Buffer,
    io::Io,
    listen::{Connected, Socket},
    outgoing::Outgoing,
    thread::Thread,
    timer::Timer,
    tls::{self, Hello, TlsStream},
};

/// A connection that was let in.
struct Entered {
    io: Io,
    door: Door,
}

/// What is spoken on a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speech {
    Clear,
    Tls,
    Mesh,
}

/// Serves a connection that was accepted on `socket`.
/// `connected` lives as long as the connection.
pub(crate) async fn accept(
    thread: Rc<Thread>,
    stream: TcpStream,
    address: SocketAddr,
    socket: Socket,
    connected: Connected,
) {
    let _connected = connected;
    let timer = poll_fn(|cx| Poll::Ready(Rc::new(thread.timers.register(cx.waker().clone())))).await;
    let entered = match speech(&thread, socket) {
        None => return,
        Some(Speech::Clear) => Entered { io: Io::Plain(stream), door: Door::Clear(socket.bind) },
        Some(speech) => match Box::pin(handshake(&thread, stream, socket, speech, &timer)).await {
            Some(entered) => entered,
            None => return,
        },
    };
    let client = Client::new(entered.door, address, socket.port);
    let http2 = matches!(&entered.io, Io::Tls(tls) if tls.agreed().alpn_protocol() == Some(b"h2"));
    let mut connection =
        Http1Connection { io: entered.io, input: Buffer::default(), out: Outgoing::default() };
    if http2 || serve_http1(&thread, &mut connection, &client, &timer).await == Ended::Http2 {
        let Http1Connection { io, input, .. } = connection;
        Box::pin(serve_http2(&thread, (io, input), client, &timer)).await;
    }
}

/// What the listeners of the socket speak. Listeners that share one speak the same.
fn speech(thread: &Thread, socket: Socket) -> Option<Speech> {
    let snapshot = thread.snapshot();
    let listener = snapshot.tables.group(socket.bind)?.listeners().next()?.clone();
    Some(match listener.protocol {
        Protocol::Http => Speech::Clear,
        Protocol::Https { .. } => Speech::Tls,
        Protocol::EastWest => Speech::Mesh,
    })
}

/// The handshake within its time. Passthrough connections live and end here.
async fn handshake(
    thread: &Rc<Thread>,
    stream: TcpStream,
    socket: Socket,
    speech: Speech,
    timer: &Rc<Timer>,
) -> Option<Entered> {
    timer.arm(thread.timers.now() + thread.handshake_timeout());
    let result = match speech {
        Speech::Mesh => enter_mesh(thread, stream, timer).await,
        _ => enter_tls(thread, stream, socket, timer).await,
    };
    timer.disarm();
    let cells = &thread.metrics.connections;
    match &result {
        Ok(_) => cells.tls_handshakes.add(1),
        Err(error) => {
            cells.tls_failures.add(1);
            tracing::debug!(%error, "handshake failed");
        }
    }
    result.ok().flatten()
}

async fn enter_tls(
    thread: &Rc<Thread>,
    mut stream: TcpStream,
    socket: Socket,
    timer: &Timer,
) -> io::Result<Option<Entered>> {
    let mut received = Buffer::default();
    let hello = within(timer, tls::read_hello(&mut stream, &mut received)).await?;
    let chosen = {
        let snapshot = thread.snapshot();
        let name = normal_name(&hello);
        let group = snapshot.tables.group(socket.bind);
        let listener = match &name {
            Err(()) => None,
            Ok(name) => group.and_then(|group| group.choose_tls(name.as_deref())),
        };
        listener
            .and_then(|listener| snapshot.listeners.get(&listener.name))
            .map(|tls| (Arc::clone(&tls.config), name.ok().flatten()))
    };
    let Some((config, name)) = chosen else {
        tls::refuse_name(&stream);
        return Err(io::Error::new(io::ErrorKind::NotFound, "no listener has the server name"));
    };
    let mut stream = TlsStream::server(stream, config, received).map_err(io::Error::other)?;
    within(timer, poll_fn(|cx| stream.poll_handshake(cx))).await?;
    Ok(Some(Entered { io: Io::Tls(Box::new(stream)), door: Door::Tls(socket.bind, name) }))
}

/// The server name in normal form.
fn normal_name(hello: &Hello) -> Result<Option<Arc<str>>, ()> {
    let Some(name) = &hello.server_name else { return Ok(None) };
    normalize::server_name(name.as_bytes()).map(|name| Some(Arc::from(&*name))).map_err(|_| ())
}

async fn enter_mesh(
    thread: &Rc<Thread>,
    mut stream: TcpStream,
    timer: &Rc<Timer>,
) -> io::Result<Option<Entered>> {
    let mut received = Buffer::default();
    let hello = within(timer, tls::read_hello(&mut stream, &mut received)).await?;
    let handle: Option<Name> = hello.server_name.map(|name| name.to_ascii_lowercase().into());
    let (state, config) = {
        let snapshot = thread.snapshot();
        let state = handle.as_ref().and_then(|handle| snapshot.handles.get(handle)).map(Arc::clone);
        (state, snapshot.mesh.server().map(Arc::clone))
    };
    let (Some(handle), Some(state)) = (handle, state) else {
        tls::refuse_name(&stream);
        return Err(io::Error::new(io::ErrorKind::NotFound, "no handle has the server name"));
    };
    if let HandleTarget::Passthrough { address } = state.spec.target {
        timer.disarm();
        pass_through(thread, stream, received, address, timer).await?;
        return Ok(None);
    }
    let config = config.ok_or_else(|| io::Error::other("there is no SVID yet"))?;
    let mut stream = TlsStream::server(stream, config, received).map_err(io::Error::other)?;
    within(timer, poll_fn(|cx| stream.poll_handshake(cx))).await?;
    state.check_caller(&stream).map_err(|why| io::Error::new(io::ErrorKind::PermissionDenied, why))?;
    if stream.agreed().alpn_protocol() != Some(tls::ALPN) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the caller does not speak isthmus-http/1",
        ));
    }
    Ok(Some(Entered { io: Io::Tls(Box::new(stream)), door: Door::Handle(handle) }))
}

/// Copies bytes both ways, TLS unopened.
async fn pass_through(
    thread: &Rc<Thread>,
    stream: TcpStream,
    received: Buffer,
    address: SocketAddr,
    timer: &Timer,
) -> io::Result<()> {
    let limit = thread.shared.settings.limits.connect_timeout;
    let target = tokio::time::timeout(limit, TcpStream::connect(address)).await??;
    target.set_nodelay(true)?;
    let (mut left, mut right) = (Io::Plain(stream), Io::Plain(target));
    let idle = thread.tunnel_idle();
    tunnel::run(&mut left, received, &mut right, Buffer::default(), &thread.timers, timer, idle).await;
    Ok(())
}

/// `work`, unless the timer passes first.
async fn within<T>(timer: &Timer, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let mut work = std::pin::pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Pending if timer.passed() => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        result => result,
    })
    .await
}
