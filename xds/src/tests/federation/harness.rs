//! Clusters that know one other cluster each, joined by streams in memory.

use std::{io, sync::Arc};

use bytes::Bytes;
use isthmus_ir::{ObjectRef, TrustBundle};
use tokio::{io::DuplexStream, sync::mpsc, task::AbortHandle};
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::{
    federation::{
        Admit, Closed, Cluster, Committed, Endpoint, Event, Exports, FederationChange, FederationKey,
        FederationResource, Hello, Import, JoinRequest, JoinResponse, Limits, Peer, Port, Service, dial,
        serve,
    },
    server::Denied,
};

/// What a cluster was told.
#[derive(Debug)]
pub(super) enum Told {
    Commit(Committed),
    Event(Event),
}

/// Writes down what it is told, and refuses what is named here.
pub(super) struct Notes {
    told: mpsc::UnboundedSender<Told>,
    refuses: Vec<(FederationKey, String)>,
}

impl Import for Notes {
    async fn commit(&mut self, committed: Committed) -> Vec<(FederationKey, String)> {
        let _ = self.told.send(Told::Commit(committed));
        self.refuses.clone()
    }

    fn event(&mut self, _: u64, event: Event) {
        let _ = self.told.send(Told::Event(event));
    }
}

/// Another cluster as one cluster knows it.
pub(super) struct Side {
    pub(super) peer: Peer<Notes>,
    pub(super) exports: Exports,
    pub(super) told: mpsc::UnboundedReceiver<Told>,
    pub(super) incoming: mpsc::UnboundedSender<io::Result<DuplexStream>>,
    pub(super) server: AbortHandle,
}

/// Admits one peer, and joins whoever knows the secret.
pub(super) struct Door(Peer<Notes>);

impl Admit for Door {
    type Import = Notes;

    async fn admit(&self, _: &http::Extensions, hello: &Hello) -> Result<Peer<Notes>, Denied> {
        match &*hello.cluster {
            "stranger" => Err(Denied("no peer of this name".to_owned())),
            _ => Ok(self.0.clone()),
        }
    }

    async fn join(&self, _: &http::Extensions, join: JoinRequest) -> Result<JoinResponse, Denied> {
        if join.proof != "secret" {
            return Err(Denied("the token is used up".to_owned()));
        }
        Ok(JoinResponse { member: join.member, proof: Bytes::from_static(b"likewise") })
    }
}

pub(super) fn hello(cluster: &str) -> Hello {
    Hello {
        cluster: cluster.into(),
        trust_domain: format!("{cluster}.example").parse().unwrap(),
        version: "test".to_owned(),
    }
}

impl Side {
    /// `local`, which knows the cluster `remote`.
    pub(super) fn new(local: &str, remote: &str) -> Self {
        Self::with(local, remote, Limits::default(), vec![])
    }

    pub(super) fn with(
        local: &str,
        remote: &str,
        limits: Limits,
        refuses: Vec<(FederationKey, String)>,
    ) -> Self {
        let (sender, told) = mpsc::unbounded_channel();
        let exports = Exports::default();
        let import = Notes { told: sender, refuses };
        let peer = Peer::new(hello(local), hello(remote), exports.clone(), import, limits);
        let (incoming, connections) = mpsc::unbounded_channel();
        let door = Arc::new(Door(peer.clone()));
        let connections = UnboundedReceiverStream::new(connections);
        let server = tokio::spawn(serve(connections, door, std::future::pending())).abort_handle();
        Self { peer, exports, told, incoming, server }
    }

    /// A connection to it.
    pub(super) fn connection(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(64 << 10);
        self.incoming.send(Ok(far)).unwrap();
        near
    }

    /// Dials `other` in the background.
    pub(super) fn dial(&self, other: &Side) -> tokio::task::JoinHandle<Closed> {
        self.dial_over(other.connection())
    }

    pub(super) fn dial_over(&self, io: DuplexStream) -> tokio::task::JoinHandle<Closed> {
        let peer = self.peer.clone();
        tokio::spawn(async move { dial(io, &peer).await })
    }

    pub(super) fn publish(&self, revision: u64, changes: &[FederationChange]) {
        self.exports.publish(revision, format!("digest {revision}").into(), changes);
    }

    /// The next commit.
    pub(super) async fn commit(&mut self) -> Committed {
        loop {
            if let Told::Commit(committed) = self.told.recv().await.unwrap() {
                return committed;
            }
        }
    }

    pub(super) async fn event(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            if let Told::Event(event) = self.told.recv().await.unwrap()
                && wanted(&event)
            {
                return event;
            }
        }
    }

    pub(super) async fn opened(&mut self) -> bool {
        let event = self.event(|event| matches!(event, Event::Opened { .. })).await;
        matches!(event, Event::Opened { resumed: true, .. })
    }

    pub(super) async fn closed(&mut self) -> Closed {
        let Event::Closed(closed) = self.event(|event| matches!(event, Event::Closed(_))).await else {
            panic!("closed")
        };
        closed
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(super) fn service(cluster: &str, name: &str, endpoints: usize) -> FederationChange {
    let identity = format!("spiffe://{cluster}.example/ns/shop/sa/{name}");
    let endpoint = |i: usize| Endpoint {
        handle: format!("h{i}").into(),
        zone: Some("z".into()),
        weight: 1,
        identities: vec![identity.parse().unwrap()],
    };
    let port = Port {
        name: "http".to_owned(),
        port: 80,
        protocol: "TCP".to_owned(),
        app_protocol: None,
        endpoints: (0..endpoints).map(endpoint).collect(),
        fallback: Some(endpoint(1000)),
    };
    FederationChange::Upsert(FederationResource::Service(Service {
        object: ObjectRef::new("shop", name),
        created: 1,
        headless: false,
        client_ip_affinity: true,
        ports: vec![port],
    }))
}

pub(super) fn cluster(name: &str) -> Vec<FederationChange> {
    let roots = vec![Bytes::from_static(b"root")];
    let trust_domain = hello(name).trust_domain;
    let cluster = Cluster {
        cluster: name.into(),
        gateways: vec!["127.0.0.1:15443".parse().unwrap(), "[::1]:15443".parse().unwrap()],
        network: "net".into(),
        zone: None,
    };
    vec![
        FederationChange::Upsert(FederationResource::Cluster(cluster)),
        FederationChange::Upsert(FederationResource::TrustBundle(TrustBundle { trust_domain, roots })),
    ]
}

/// In the order in which changes are handed out.
pub(super) fn sorted(mut changes: Vec<FederationChange>) -> Vec<FederationChange> {
    changes.sort_by_key(FederationChange::key);
    changes
}
