//! A relay on the one port between the clusters that can cut the control stream and nothing else.
//!
//! It reads the server name of each TLS `ClientHello`, which is in clear, and copies bytes unopened.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, bail};
use rustls::server::Acceptor;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// The server name by which control planes reach each other.
const CONTROL: &str = "control";
const LARGEST_HELLO: usize = 16 * 1024;

/// A relay that is running.
pub struct Relay {
    cut: Arc<watch::Sender<bool>>,
}

impl Relay {
    /// Copies what arrives on `listen` to `target`.
    ///
    /// # Errors
    /// When `listen` cannot be bound.
    pub async fn start(listen: SocketAddr, target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("the relay cannot bind {listen}"))?;
        let cut = Arc::new(watch::Sender::new(false));
        let gate = cut.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let cut = gate.subscribe();
                tokio::spawn(async move {
                    if let Err(error) = relay(socket, target, cut).await {
                        tracing::debug!(%error, "relayed connection ended");
                    }
                });
            }
        });
        Ok(Self { cut })
    }

    /// Ends every control stream, and refuses new ones until [`Relay::mend`].
    pub fn cut_control(&self) {
        self.cut.send_replace(true);
    }

    /// Lets control streams through again.
    pub fn mend(&self) {
        self.cut.send_replace(false);
    }
}

async fn relay(
    mut client: TcpStream,
    target: SocketAddr,
    mut cut: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    client.set_nodelay(true)?;
    let (name, hello) = server_name(&mut client).await?;
    let is_control = name.as_deref() == Some(CONTROL);
    if is_control && *cut.borrow_and_update() {
        return Ok(());
    }
    let mut server = TcpStream::connect(target).await?;
    server.set_nodelay(true)?;
    server.write_all(&hello).await?;
    tokio::select! {
        copied = copy_bidirectional(&mut client, &mut server) => { copied?; }
        _ = cut.wait_for(|cut| *cut && is_control) => {}
    }
    Ok(())
}

/// The server name of the `ClientHello`, and every byte that was read to find it.
async fn server_name(client: &mut TcpStream) -> anyhow::Result<(Option<String>, Vec<u8>)> {
    let mut acceptor = Acceptor::default();
    let mut hello = Vec::with_capacity(2048);
    loop {
        let start = hello.len();
        if start > LARGEST_HELLO || client.read_buf(&mut hello).await? == 0 {
            bail!("no complete ClientHello");
        }
        let mut fresh = hello.get(start..).unwrap_or_default();
        acceptor.read_tls(&mut fresh)?;
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                return Ok((accepted.client_hello().server_name().map(str::to_owned), hello));
            }
            Ok(None) => {}
            Err((error, _)) => return Err(error.into()),
        }
    }
}
