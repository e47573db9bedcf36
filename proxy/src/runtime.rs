//! The threads: one runtime each, and how they are reached.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use isthmus_ir::matcher::Bind;
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{mpsc, oneshot},
};

use crate::{
    access_log::AccessLogger,
    balance::Probes,
    drain::Drain,
    listen::{self, Socket},
    metrics::{Metrics, ThreadMetrics},
    settings::Settings,
    snapshot::Current,
    thread::Thread,
};

/// What all threads share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) current: Current,
    pub(crate) metrics: Metrics,
    pub(crate) probes: Probes,
    pub(crate) drain: Drain,
    pub(crate) log: Option<AccessLogger>,
    threads: OnceLock<Vec<Mailbox>>,
    connections: AtomicUsize,
}

/// What a thread is told.
pub(crate) enum Message {
    /// Serve this connection.
    Connection(TcpStream, SocketAddr, Socket),
    /// Accept on this socket.
    Listen(TcpListener, Socket),
    /// Stop accepting on the socket of this bind.
    Unlisten(Bind),
    /// Look at what was put in force, also when no request comes.
    Refresh,
    /// Wake every connection: the drain went on.
    Wake,
    /// End.
    Stop,
}

/// One thread, as others reach it.
pub(crate) struct Mailbox {
    sender: mpsc::UnboundedSender<Message>,
    load: Arc<Load>,
}

/// Connections of a thread; alone on its cache lines.
#[derive(Default)]
#[repr(align(128))]
struct Load(AtomicUsize);

impl Mailbox {
    /// Tells the thread; nothing happens when it has ended.
    pub(crate) fn send(&self, message: Message) {
        drop(self.sender.send(message));
    }

    pub(crate) fn load(&self) -> usize {
        self.load.0.load(Relaxed)
    }

    pub(crate) fn add_load(&self) {
        self.load.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn remove_load(&self) {
        self.load.0.fetch_sub(1, Relaxed);
    }
}

impl Shared {
    pub(crate) fn new(settings: Settings, probes: Probes, log: Option<AccessLogger>) -> Self {
        let threads = (0..settings.threads.max(1)).map(|_| Arc::default()).collect();
        Self {
            settings,
            current: Current::default(),
            metrics: Metrics { threads, ..Metrics::default() },
            probes,
            drain: Drain::default(),
            log,
            threads: OnceLock::new(),
            connections: AtomicUsize::new(0),
        }
    }

    /// All request threads.
    pub(crate) fn threads(&self) -> &[Mailbox] {
        self.threads.get().map(Vec::as_slice).unwrap_or_default()
    }

    /// Takes a place for one more connection; false when there is none.
    pub(crate) fn admit(&self) -> bool {
        let admitted = self.connections.fetch_add(1, Relaxed) < self.settings.limits.connections;
        if !admitted {
            self.release();
        }
        admitted
    }

    /// Gives a place back.
    pub(crate) fn release(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// Connections that are open.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// Tells every thread.
    pub(crate) fn tell_all(&self, message: impl Fn() -> Message) {
        for thread in self.threads() {
            thread.send(message());
        }
    }
}

/// Starts the request threads.
///
/// # Errors
/// When the system gives no thread or no runtime.
pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<Vec<std::thread::JoinHandle<()>>> {
    let mut receivers = Vec::new();
    let mut mailboxes = Vec::new();
    for _ in &shared.metrics.threads {
        let (sender, receiver) = mpsc::unbounded_channel();
        mailboxes.push(Mailbox { sender, load: Arc::default() });
        receivers.push(receiver);
    }
    let _ = shared.threads.set(mailboxes);
    let mut handles = Vec::new();
    for ((index, receiver), metrics) in receivers.into_iter().enumerate().zip(&shared.metrics.threads) {
        let (shared, metrics) = (Arc::clone(shared), Arc::clone(metrics));
        let name = format!("request-{index}");
        handles.push(std::thread::Builder::new().name(name).spawn(move || {
            run(index, shared, metrics, receiver);
        })?);
    }
    Ok(handles)
}

fn run(
    index: usize,
    shared: Arc<Shared>,
    metrics: Arc<ThreadMetrics>,
    mail: mpsc::UnboundedReceiver<Message>,
) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    match runtime {
        Ok(runtime) => runtime.block_on(serve(Thread::new(index, shared, metrics), mail)),
        Err(error) => tracing::error!(%error, "a request thread cannot start"),
    }
}

async fn serve(thread: Rc<Thread>, mut mail: mpsc::UnboundedReceiver<Message>) {
    tokio::task::spawn_local(Rc::clone(&thread.timers).tick());
    tokio::task::spawn_local(Rc::clone(&thread).sweep());
    // Whoever drops one ends the task that accepts there.
    let mut listening: HashMap<Bind, oneshot::Sender<()>> = HashMap::new();
    while let Some(message) = mail.recv().await {
        match message {
            Message::Connection(stream, address, socket) => {
                listen::adopt_std(&thread, stream, address, socket);
            }
            Message::Listen(listener, socket) => {
                let (open, closed) = oneshot::channel();
                tokio::task::spawn_local(listen::accept(Rc::clone(&thread), listener, socket, closed));
                listening.insert(socket.bind, open);
            }
            Message::Unlisten(bind) => drop(listening.remove(&bind)),
            Message::Refresh => drop(thread.snapshot()),
            Message::Wake => thread.timers.wake_all(),
            Message::Stop => return,
        }
    }
}
