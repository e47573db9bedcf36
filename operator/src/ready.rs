//! Answers whether the operator is ready, over HTTP, to whoever asks.

use std::{
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::component::READY_PORT;

/// Whether the operator is ready.
pub(crate) type Ready = Arc<AtomicBool>;

const PATIENCE: Duration = Duration::from_secs(2);

/// Answers until it is dropped. That nobody can ask is no reason not to work.
pub(crate) async fn serve(ready: Ready) {
    let port = u16::try_from(READY_PORT).unwrap_or_default();
    let listener = match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, port, "cannot answer whether the operator is ready");
            return;
        }
    };
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            // Whoever hangs up early or says nothing asked nothing.
            let _ = timeout(PATIENCE, answer(stream, ready.load(Ordering::Relaxed))).await;
        }
    }
}

/// There is one question only, so it need not be understood.
async fn answer(mut stream: TcpStream, ready: bool) -> std::io::Result<()> {
    let mut question = [0; 1024];
    let _ = stream.read(&mut question).await?;
    let status = if ready { "200 OK" } else { "503 Service Unavailable" };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
