//! Keeping a stream to a peer open: its gateways in turn, with waits that grow. And dialling for a join.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt as _;
use isthmus_east_west::{handle::CONTROL, invite::Channel};
use isthmus_identity::{Anchors, Believe};
use isthmus_ir::TrustDomain;
use isthmus_xds::{
    client::Backoff,
    federation::{self, Closed},
};
use rustls::pki_types::ServerName;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    bridge::Bridge,
    network::{Io, Network},
    svid::{Credentials, Svid},
    trust::{OfPeer, digest},
};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A stream that lived this long was no failure.
const LIVED: Duration = Duration::from_secs(10);

/// Where a peer is, and whom to believe there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    /// Its gateways; none are dialled once it is leaving.
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) trust_domain: TrustDomain,
    pub(super) roots: Vec<Bytes>,
}

/// Dials a peer whenever no stream with it is open, until the sender of `target` is gone.
pub(super) async fn keep_connected(
    peer: federation::Peer<Bridge>,
    mut target: watch::Receiver<Target>,
    network: Network,
    svid: Svid,
    trouble: impl Fn(String) + Send,
) {
    let mut backoff = Backoff::new();
    loop {
        tokio::select! {
            () = peer.vacant() => {}
            () = gone(target.clone()) => return,
        }
        let now = target.borrow_and_update().clone();
        for address in now.addresses.clone() {
            let begun = Instant::now();
            let closed = converse(address, &now, &peer, &network, &svid).await;
            if begun.elapsed() >= LIVED {
                backoff.reset();
            }
            if !matches!(
                closed,
                Closed::Duplicate | Closed::Replaced | Closed::Leaving | Closed::Left(_)
            ) {
                trouble(format!("{address}: {closed}"));
            }
            if peer.is_open() || target.has_changed().unwrap_or(true) {
                break;
            }
        }
        tokio::select! {
            () = sleep(backoff.wait()), if !now.addresses.is_empty() => {}
            changed = target.changed() => if changed.is_err() { return },
        }
    }
}

async fn gone(mut target: watch::Receiver<Target>) {
    while target.changed().await.is_ok() {}
}

async fn converse(
    address: SocketAddr,
    target: &Target,
    peer: &federation::Peer<Bridge>,
    network: &Network,
    svid: &Svid,
) -> Closed {
    match open(address, target, network, svid).await {
        Ok(io) => federation::dial(io, peer).boxed().await,
        Err(error) => Closed::Unreachable(reason(&error)),
    }
}

async fn open(
    address: SocketAddr,
    target: &Target,
    network: &Network,
    svid: &Svid,
) -> io::Result<TlsStream<Io>> {
    let anchors = Anchors::new(&target.trust_domain, &target.roots).map_err(io::Error::other)?;
    Ok(connect(address, OfPeer(anchors), network.clone(), svid.current()).await?.0)
}

/// Opens a connection to whoever is believed, and what identifies it.
pub(super) async fn connect(
    address: SocketAddr,
    believe: impl Believe,
    network: Network,
    credentials: Arc<Credentials>,
) -> io::Result<(TlsStream<Io>, Channel)> {
    let name = ServerName::try_from(CONTROL).map_err(io::Error::other)?;
    let connector = TlsConnector::from(credentials.client(believe).map_err(io::Error::other)?);
    let io = network.connect(address).await?;
    let shaken = timeout(HANDSHAKE, connector.connect(name, io)).await;
    let stream = shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let (_, tls) = stream.get_ref();
    let inviter = tls.peer_certificates().and_then(<[_]>::first).map(digest).unwrap_or_default();
    let exporter =
        tls.export_keying_material([0; 32], Channel::LABEL, None).map_err(io::Error::other)?;
    let channel = Channel { exporter, inviter, joiner: credentials.leaf };
    Ok((stream, channel))
}

/// Why a connection did not come about, for people.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            "the connection was cut; perhaps no Isthmus gateway listens there".to_owned()
        }
        _ => error.to_string(),
    }
}
