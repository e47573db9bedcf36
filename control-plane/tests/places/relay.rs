//! The way to an API server, which can be cut.

use std::net::SocketAddr;

use isthmus_e2e::free;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A port that leads to an API server while it is open.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Relay {
    /// One that is not open yet: it hangs up on everybody.
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let address = free();
        let listener = TcpListener::bind(address).await.unwrap();
        let open = watch::Sender::new(false);
        let is_open = open.subscribe();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut is_open = is_open.clone();
                if !*is_open.borrow_and_update() {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut upstream) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut stream, &mut upstream) => {}
                        _ = is_open.changed() => {}
                    }
                });
            }
        });
        Self { address, open }
    }

    /// Lets everybody through, or nobody, and cuts whoever was through.
    pub(crate) fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }
}
