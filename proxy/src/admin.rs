//! The admin interface on a Unix socket: readiness, metrics, a dump, and why a request goes where it goes.
//! Readiness and metrics, and nothing else, are also to be had by TCP.
//!
//! It changes nothing, and shows no secrets: certificates appear by name, keys not at all. One request a
//! connection, in HTTP/1.1.

mod dump;
mod explain;

use std::{fs, io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use isthmus_ir::matcher::Bind;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UnixListener},
    sync::Semaphore,
    time::timeout,
};
use tokio_stream::{
    Stream, StreamExt as _,
    wrappers::{TcpListenerStream, UnixListenerStream},
};

use crate::{
    Proxy,
    http1::{Limits, Method, Parse, Request, RequestHead},
    listen,
};

/// For a whole exchange.
const PATIENCE: Duration = Duration::from_secs(5);

/// Exchanges at a time.
const EXCHANGES: usize = 64;

/// How much of the interface is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pages {
    All,
    /// What strangers may see: readiness and metrics.
    Public,
}

/// An answer: status, content type, body.
struct Page(u16, &'static str, String);

/// Binds the socket at `path`, in place of one that a process left behind.
///
/// # Errors
/// When the system refuses.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    UnixListener::bind(path)
}

/// Binds `address` for what strangers may see; `[::]` stands for IPv4 too.
///
/// # Errors
/// When the system refuses. To be called within a tokio runtime.
pub fn bind_public(address: SocketAddr) -> io::Result<TcpListener> {
    let bind = Bind { address: Some(address.ip()), port: address.port() };
    TcpListener::from_std(listen::listen(bind)?)
}

/// Answers everything on `listener` for ever.
pub async fn serve(proxy: Arc<Proxy>, listener: UnixListener) {
    answer_all(proxy, UnixListenerStream::new(listener), Pages::All).await;
}

/// Answers `/ready` and `/metrics` on `listener` for ever.
pub async fn serve_public(proxy: Arc<Proxy>, listener: TcpListener) {
    answer_all(proxy, TcpListenerStream::new(listener), Pages::Public).await;
}

async fn answer_all<S>(
    proxy: Arc<Proxy>,
    mut incoming: impl Stream<Item = io::Result<S>> + Unpin,
    pages: Pages,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let exchanges = Arc::new(Semaphore::new(EXCHANGES));
    while let Some(stream) = incoming.next().await {
        match stream {
            Ok(stream) => {
                // Others wait in the listener's backlog; the semaphore is never closed.
                let permit = Arc::clone(&exchanges).acquire_owned().await;
                let proxy = Arc::clone(&proxy);
                tokio::spawn(async move {
                    // Who left needs no answer.
                    let _ = timeout(PATIENCE, answer(&proxy, stream, pages)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin interface cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(
    proxy: &Proxy,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    pages: Pages,
) -> io::Result<()> {
    let mut head = RequestHead::new(Limits::default());
    let mut input = Vec::new();
    let page = loop {
        match head.parse(&input) {
            Ok(Parse::Complete(_)) => break page(proxy, head.view(&input), pages),
            Ok(Parse::Partial) => {}
            Err(error) => break Page(error.status(), TEXT, format!("{error}\n")),
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    };
    let Page(status, kind, body) = page;
    let reason = http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason());
    let head = format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        reason.unwrap_or_default(),
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

fn page(proxy: &Proxy, request: Request<'_>, pages: Pages) -> Page {
    if request.method() != Method::Get {
        return Page(405, TEXT, "this interface changes nothing\n".to_owned());
    }
    match request.path() {
        b"/ready" => match proxy.not_ready() {
            None => Page(200, TEXT, "ready\n".to_owned()),
            Some(why) => Page(503, TEXT, format!("{why}\n")),
        },
        b"/metrics" => Page(200, "text/plain; version=0.0.4; charset=utf-8", proxy.metrics()),
        _ if pages == Pages::Public => Page(404, TEXT, "/ready /metrics\n".to_owned()),
        b"/config_dump" => Page(200, JSON, dump::render(proxy)),
        b"/explain" => match explain::render(proxy, request.query().unwrap_or_default()) {
            Ok(body) => Page(200, JSON, body),
            Err(why) => Page(400, TEXT, format!("{why}\n")),
        },
        _ => Page(404, TEXT, "/ready /metrics /config_dump /explain?method=&url=&header=\n".to_owned()),
    }
}
