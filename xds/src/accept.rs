//! Connections of strangers, before anything is known of them: how many there may be, and for how long.
//!
//! Whoever connects has a bounded time to be greeted (to shake hands), and as long again to be admitted by
//! whoever reads what it says. Then it may stay for as long as its proof holds. Whom to admit, and by what
//! proof, is not decided here.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::transport::server::Connected;

/// A pause after the operating system refused to accept.
const PAUSE: Duration = Duration::from_millis(100);

/// What strangers may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// What the port is for, in logs.
    pub port: &'static str,
    /// Connections at a time.
    pub connections: usize,
    /// Those of them that are not admitted yet.
    pub guests: usize,
    /// How long a stranger may take for each of its two steps.
    pub patience: Duration,
}

/// Whether a connection may live on. Cloning copies a pointer.
#[derive(Clone, Default, Debug)]
pub struct Admission(Arc<Terms>);

#[derive(Default, Debug)]
struct Terms {
    given: AtomicBool,
    end: OnceLock<Instant>,
}

impl Admission {
    /// It may.
    pub fn admit(&self) {
        self.0.given.store(true, Ordering::Relaxed);
    }

    /// Not for longer than until `end`, when what it has proved itself with ends. Said once, before it is
    /// admitted.
    pub fn ends(&self, end: Instant) {
        let _ = self.0.end.set(end);
    }

    fn is_given(&self) -> bool {
        self.0.given.load(Ordering::Relaxed)
    }
}

/// A connection that was greeted, with what was learned of its other end.
#[derive(Debug)]
pub struct Connection<S, I> {
    stream: S,
    info: I,
    /// None when it may stay for good.
    lease: Option<Lease>,
    _permit: OwnedSemaphorePermit,
}

/// A connection that will be hung up on.
#[derive(Debug)]
struct Lease {
    admission: Admission,
    deadline: Pin<Box<Sleep>>,
    /// None once it is admitted.
    guest: Option<OwnedSemaphorePermit>,
}

/// Connections that `greet` has greeted. The future takes them in; it ends with `accepted`, or when nobody
/// wants them any more. Errors of `accepted` are passed over.
pub fn connections<IO, S, I, F>(
    accepted: impl Stream<Item = io::Result<IO>> + Send + 'static,
    bounds: Bounds,
    greet: impl Fn(IO, Admission) -> F + Send + 'static,
) -> (impl Stream<Item = io::Result<Connection<S, I>>>, impl Future<Output = ()> + Send)
where
    IO: Send,
    S: Send + 'static,
    I: Send + 'static,
    F: Future<Output = io::Result<(S, I)>> + Send + 'static,
{
    let (ready, connections) = mpsc::channel(1);
    let accepting = async move {
        let mut accepted = pin!(accepted);
        let permits = Permits::new(bounds);
        loop {
            let io = tokio::select! {
                io = accepted.next() => io,
                () = ready.closed() => return,
            };
            match (io, permits.take()) {
                (None, _) => return,
                (Some(Ok(io)), Some(places)) => {
                    let admission = Admission::default();
                    let greeting = greet(io, admission.clone());
                    tokio::spawn(receive(greeting, admission, places, bounds, ready.clone()));
                }
                (Some(Ok(_)), None) => tracing::warn!(port = bounds.port, "too many connections"),
                (Some(Err(error)), _) => {
                    tracing::warn!(port = bounds.port, %error, "cannot accept");
                    sleep(PAUSE).await;
                }
            }
        }
    };
    (ReceiverStream::new(connections), accepting)
}

/// Places for connections, and for those that are guests.
struct Permits {
    connections: Arc<Semaphore>,
    guests: Arc<Semaphore>,
}

type Places = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Permits {
    fn new(bounds: Bounds) -> Self {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        Self { connections: semaphore(bounds.connections), guests: semaphore(bounds.guests) }
    }

    fn take(&self) -> Option<Places> {
        let connection = Arc::clone(&self.connections).try_acquire_owned().ok()?;
        Some((connection, Arc::clone(&self.guests).try_acquire_owned().ok()?))
    }
}

/// Waits for one greeting.
async fn receive<S, I>(
    greeting: impl Future<Output = io::Result<(S, I)>>,
    admission: Admission,
    (connection, guest): Places,
    bounds: Bounds,
    ready: mpsc::Sender<io::Result<Connection<S, I>>>,
) {
    let (stream, info) = match timeout(bounds.patience, greeting).await {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(error)) => {
            tracing::debug!(port = bounds.port, %error, "handshake failed");
            return;
        }
        Err(_) => {
            tracing::debug!(port = bounds.port, "handshake took too long");
            return;
        }
    };
    let deadline = Box::pin(sleep(bounds.patience));
    let lease = Some(Lease { admission, deadline, guest: Some(guest) });
    drop(ready.send(Ok(Connection { stream, info, lease, _permit: connection })).await);
}

impl<S, I: Clone + Send + Sync + 'static> Connected for Connection<S, I> {
    type ConnectInfo = I;

    fn connect_info(&self) -> I {
        self.info.clone()
    }
}

impl<S, I> Connection<S, I> {
    fn check_deadline(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Some(lease) = &mut self.lease else { return Ok(()) };
        if lease.guest.is_some() && lease.admission.is_given() {
            lease.guest = None;
            let Some(end) = lease.admission.0.end.get() else {
                self.lease = None;
                return Ok(());
            };
            lease.deadline.as_mut().reset(*end);
        }
        match lease.deadline.as_mut().poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl<S: AsyncRead + Unpin, I: Unpin> AsyncRead for Connection<S, I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_deadline(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin, I: Unpin> AsyncWrite for Connection<S, I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
