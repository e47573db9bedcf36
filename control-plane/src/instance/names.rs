//! Names of the ClusterSet in a running instance: the DNS server, where the MeshInstall wants it.
//!
//! A port that is taken is told, and tried again; nothing else waits for it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use isthmus_east_west::dns::Table;
use tokio::{sync::watch, time::sleep};

use crate::dns::DnsServer;

/// The time between two attempts to bind a port that is taken.
const AGAIN: Duration = Duration::from_secs(1);

/// What the core tells of names.
#[derive(Clone, Debug)]
pub struct NameSink {
    /// What is answered from; none before the first refresh.
    pub table: Arc<ArcSwapOption<Table>>,
    /// Where it is answered; none: nowhere.
    pub address: watch::Sender<Option<SocketAddr>>,
}

/// The server, and what it is told.
pub(super) struct Names {
    server: Option<DnsServer>,
    table: Arc<ArcSwapOption<Table>>,
    address: watch::Receiver<Option<SocketAddr>>,
}

impl Names {
    /// What is to answer on `address`, and what it is told by.
    pub(super) fn new(address: Option<SocketAddr>) -> (Self, NameSink) {
        let table = Arc::<ArcSwapOption<Table>>::default();
        let sink = NameSink { table: Arc::clone(&table), address: watch::Sender::new(address) };
        (Self { server: None, table, address: sink.address.subscribe() }, sink)
    }

    /// Follows the settings until nobody is left who could change them.
    pub(super) async fn run(mut self) {
        loop {
            let wanted = *self.address.borrow_and_update();
            if self.server.as_ref().map(DnsServer::address) != wanted {
                self.end().await;
            }
            if !self.answer_at(wanted).await {
                break;
            }
        }
        self.end().await;
    }

    /// Answers there until the settings change; false when they never will again.
    async fn answer_at(&mut self, wanted: Option<SocketAddr>) -> bool {
        let mut told = false;
        while let Some(address) = wanted.filter(|_| self.server.is_none()) {
            match DnsServer::bind(address, Arc::clone(&self.table)).await {
                Ok(server) => self.server = Some(server),
                Err(error) => {
                    if !told {
                        tracing::error!(%address, %error,
                            "cannot answer names: free the port, or choose another in spec.dns.port of the \
                             MeshInstall; it is tried again");
                    }
                    told = true;
                    tokio::select! {
                        () = sleep(AGAIN) => {}
                        changed = self.address.changed() => return changed.is_ok(),
                    }
                }
            }
        }
        self.address.changed().await.is_ok()
    }

    async fn end(&mut self) {
        if let Some(server) = self.server.take() {
            server.shut_down().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, SocketAddr},
        time::Duration,
    };

    use tokio::{
        net::{TcpListener, TcpStream},
        time::{sleep, timeout},
    };

    use super::Names;

    async fn taken() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// Waits until somebody accepts connections there, or nobody does.
    async fn until(address: SocketAddr, accepts: bool) {
        let waiting = async {
            while TcpStream::connect(address).await.is_ok() != accepts {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), waiting).await.unwrap();
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_tried_again_and_it_moves_with_the_settings() {
        let (first, one) = taken().await;
        let (second, two) = taken().await;
        let (names, sink) = Names::new(Some(one));
        let running = tokio::spawn(names.run());
        drop(first);
        until(one, true).await;
        sink.address.send_replace(Some(two));
        until(one, false).await;
        drop(second);
        until(two, true).await;
        sink.address.send_replace(None);
        until(two, false).await;
        drop(sink);
        running.await.unwrap();
    }
}
