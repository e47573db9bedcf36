//! Clusters, and a network between them that can be cut, frozen and refused.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use isthmus_compiler::ExportChange;
use isthmus_east_west::lease::Timing;
use isthmus_ir::ObjectRef;
use isthmus_world::{
    Change, World,
    fact::{
        ExportedEndpoint, ExportedPort, ExportedService, ImportType, MeshSettings, PeerState,
        ServiceScope, SessionAffinity,
    },
};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::{
    ca::Authority,
    federation::{
        Federation, Setup,
        dial::connect,
        network::{Io, Network},
        start_over,
        svid::Svid,
        system_clock,
        trust::ControlPlane,
    },
    state_dir::StateDir,
};

/// What becomes of connections to an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Up,
    Refused,
    /// Connections open and nothing comes back.
    Frozen,
}

struct Listening {
    place: watch::Sender<Place>,
    incoming: mpsc::UnboundedSender<io::Result<Io>>,
    relays: Vec<AbortHandle>,
}

/// Everything that is between clusters.
#[derive(Clone, Default)]
pub(super) struct Fabric(Arc<Mutex<BTreeMap<SocketAddr, Listening>>>, Arc<Mutex<Vec<SocketAddr>>>);

impl Fabric {
    fn network(&self) -> Network {
        let fabric = self.clone();
        Network::new(move |address| {
            let connected = fabric.connect(address);
            async move { connected }
        })
    }

    fn connect(&self, address: SocketAddr) -> io::Result<Io> {
        self.1.lock().unwrap().push(address);
        let mut all = self.0.lock().unwrap();
        let listening = all.get_mut(&address).ok_or(io::ErrorKind::ConnectionRefused)?;
        if *listening.place.borrow() == Place::Refused {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, mut from_near) = tokio::io::duplex(64 << 10);
        let (mut to_far, far) = tokio::io::duplex(64 << 10);
        listening.incoming.send(Ok(Box::new(far))).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        let mut place = listening.place.subscribe();
        let relay = tokio::spawn(async move {
            tokio::select! {
                () = async { drop(place.wait_for(|place| *place == Place::Frozen).await) } => {
                    // Until aborted: both ends stay open, and nothing moves.
                    std::future::pending::<()>().await;
                }
                _ = tokio::io::copy_bidirectional(&mut from_near, &mut to_far) => {}
            }
        });
        listening.relays.push(relay.abort_handle());
        Ok(Box::new(near))
    }

    /// Whether anybody tried to connect to `address`.
    pub(super) fn was_dialled(&self, address: SocketAddr) -> bool {
        self.1.lock().unwrap().contains(&address)
    }

    /// A connection on which nobody says anything.
    pub(super) fn open(&self, address: SocketAddr) -> Io {
        self.connect(address).unwrap()
    }

    /// From now on, for new connections; a frozen place also freezes those that are open.
    pub(super) fn set(&self, address: SocketAddr, place: Place) {
        self.0.lock().unwrap()[&address].place.send_replace(place);
    }

    /// Waits until the other end has closed a connection.
    pub(super) async fn ended(&self, mut io: Io) {
        let mut rest = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut io, &mut rest).await;
    }

    /// Breaks open connections.
    pub(super) fn cut(&self, address: SocketAddr) {
        let mut all = self.0.lock().unwrap();
        all.get_mut(&address).unwrap().relays.drain(..).for_each(|relay| relay.abort());
    }
}

/// One cluster.
pub(super) struct Cluster {
    pub(super) federation: Federation,
    pub(super) world: World,
    pub(super) address: SocketAddr,
    pub(super) clock: Arc<AtomicI64>,
    pub(super) spec: Spec,
    changes: mpsc::Receiver<Vec<Change>>,
    state: Arc<StateDir>,
    directory: Arc<TempDir>,
    fabric: Fabric,
}

/// What a cluster is.
#[derive(Clone)]
pub(super) struct Spec {
    pub(super) id: String,
    pub(super) domain: String,
    pub(super) address: SocketAddr,
    pub(super) reachable: bool,
    authority: Arc<Authority>,
}

pub(super) fn spec(id: &str, number: u8) -> Spec {
    let domain = format!("{id}.example");
    let now = system_clock()();
    let authority = Authority::generate(domain.parse().unwrap(), now).unwrap();
    Spec {
        id: id.to_owned(),
        domain,
        address: SocketAddr::from(([192, 0, 2, number], 15443)),
        reachable: true,
        authority: Arc::new(authority),
    }
}

impl Spec {
    pub(super) fn in_domain(mut self, domain: &str) -> Self {
        let authority = Authority::generate(domain.parse().unwrap(), system_clock()()).unwrap();
        self.domain = domain.to_owned();
        self.authority = Arc::new(authority);
        self
    }

    /// With settings that name another trust domain than its CA.
    pub(super) fn claiming(mut self, domain: &str) -> Self {
        self.domain = domain.to_owned();
        self
    }

    /// With the roots of `other`, whose trust domain it has, and a key of its own.
    pub(super) fn with_roots_of(mut self, other: &Self) -> Self {
        self.authority = Arc::new(self.authority.with_root_of(&other.authority));
        self
    }

    /// With nowhere for others to dial.
    pub(super) fn unreachable(mut self) -> Self {
        self.reachable = false;
        self
    }

    fn settings(&self) -> MeshSettings {
        MeshSettings {
            cluster: self.id.as_str().into(),
            trust_domain: self.domain.parse().unwrap(),
            network: self.id.as_str().into(),
            zone: None,
            east_west: vec![self.address],
            federation: None,
            gateway_identity: None,
            service_scope: ServiceScope::Cluster,
            names: None,
            place: isthmus_world::fact::Place::Pods,
        }
    }

    pub(super) async fn start(self, fabric: &Fabric) -> Cluster {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        self.start_in(directory, fabric).await
    }

    async fn start_in(self, directory: Arc<TempDir>, fabric: &Fabric) -> Cluster {
        let state = Arc::new(StateDir::open(directory.path()).unwrap());
        let (sender, changes) = mpsc::channel(64);
        let (incoming, accepted) = mpsc::unbounded_channel();
        let listening = Listening { place: watch::Sender::new(Place::Up), incoming, relays: Vec::new() };
        fabric.0.lock().unwrap().insert(self.address, listening);
        let clock = Arc::new(AtomicI64::new(0));
        let offset = Arc::clone(&clock);
        let setup = Setup {
            state: Arc::clone(&state),
            authority: Arc::clone(&self.authority),
            settings: self.settings(),
            advertise: if self.reachable { vec![self.address] } else { Vec::new() },
            changes: sender,
            timing: Timing::default(),
            clock: Arc::new(move || system_clock()() + offset.load(Ordering::Relaxed)),
        };
        let accepted = UnboundedReceiverStream::new(accepted);
        let (federation, initial) = start_over(setup, fabric.network(), accepted).await.unwrap();
        let mut world = World::new(self.settings());
        for change in initial {
            world.apply(change, &mut |_| ());
        }
        let fabric = fabric.clone();
        let address = self.address;
        Cluster { federation, world, address, clock, spec: self, changes, state, directory, fabric }
    }
}

impl Cluster {
    /// Two clusters that export their cart and have joined.
    pub(super) async fn pair(fabric: &Fabric) -> (Self, Self) {
        let (mut east, mut west) =
            (spec("east", 1).start(fabric).await, spec("west", 2).start(fabric).await);
        east.publish(&["cart"]);
        west.publish(&["cart"]);
        let token = east.invite().await;
        west.federation.join(&token).await.unwrap();
        east.until(|world| exports(world, "west") == ["cart"]).await;
        west.until(|world| exports(world, "east") == ["cart"]).await;
        (east, west)
    }

    pub(super) async fn invite(&self) -> String {
        self.federation.invite().await.unwrap().expose().clone()
    }

    /// Exports these of namespace `shop`.
    pub(super) fn publish(&self, names: &[&str]) {
        let upserts = names.iter().map(|name| ExportChange::Upsert(Arc::new(self.service(name))));
        self.federation.publish(upserts.collect());
    }

    pub(super) fn unpublish(&self, name: &str) {
        self.federation.publish(vec![ExportChange::Remove(ObjectRef::new("shop", name))]);
    }

    pub(super) fn service(&self, name: &str) -> ExportedService {
        let endpoint = ExportedEndpoint {
            handle: format!("{}-{name}", self.spec.id).into(),
            zone: Some("a".into()),
            weight: 2,
            identities: vec![
                format!("spiffe://{}/ns/shop/sa/{name}", self.spec.domain).parse().unwrap(),
            ],
        };
        let port = ExportedPort {
            name: "http".to_owned(),
            port: 80,
            protocol: "TCP".to_owned(),
            app_protocol: Some("kubernetes.io/h2c".to_owned()),
            endpoints: vec![endpoint.clone()],
            fallback: Some(ExportedEndpoint { handle: "all".into(), ..endpoint }),
        };
        ExportedService {
            cluster: self.spec.id.as_str().into(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            created: 7,
            kind: ImportType::ClusterSetIp,
            affinity: SessionAffinity::ClientIp,
            ports: vec![port],
        }
    }

    /// Applies changes until the World is as wanted.
    pub(super) async fn until(&mut self, wanted: impl Fn(&World) -> bool) {
        while !wanted(&self.world) {
            let batch = self.changes.recv().await.expect("federation runs");
            for change in batch {
                self.world.apply(change, &mut |_| ());
            }
        }
    }

    /// Applies what is there.
    pub(super) fn catch_up(&mut self) {
        while let Ok(batch) = self.changes.try_recv() {
            for change in batch {
                self.world.apply(change, &mut |_| ());
            }
        }
    }

    /// Ends it in good order and starts it again.
    pub(super) async fn restart(self) -> Self {
        let directory = self.stop().await;
        directory.start().await
    }

    /// Ends it in good order.
    pub(super) async fn stop(self) -> Stopped {
        self.federation.shut_down().await;
        self.fabric.set(self.address, Place::Refused);
        self.fabric.cut(self.address);
        let Self { spec, state, directory, fabric, .. } = self;
        // Released by the last blocking task.
        while Arc::strong_count(&state) > 1 {
            tokio::task::yield_now().await;
        }
        Stopped { spec, directory, fabric }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.state.path(name)
    }

    /// A connection to a control plane on which nothing is said but TLS.
    pub(super) async fn shake_hands(&self, address: SocketAddr) -> Io {
        let clock = system_clock();
        let svid = Svid::new(Arc::clone(&self.spec.authority), clock).unwrap();
        let connected = connect(address, ControlPlane, self.fabric.network(), svid.current()).await;
        Box::new(connected.unwrap().0)
    }
}

/// A cluster that does not run.
pub(super) struct Stopped {
    pub(super) spec: Spec,
    directory: Arc<TempDir>,
    fabric: Fabric,
}

impl Stopped {
    /// With the CA of `spec`.
    pub(super) fn replaced_by(self, spec: Spec) -> Self {
        Self { spec, ..self }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) async fn start(self) -> Cluster {
        self.spec.start_in(self.directory, &self.fabric).await
    }
}

/// Names of what a peer exports, in force.
pub(super) fn exports(world: &World, cluster: &str) -> Vec<String> {
    let all = world
        .peer_exported()
        .filter(|object| world.peer_exports(object).any(|export| *export.peer.cluster == *cluster));
    all.map(|object| object.name.clone()).collect()
}

pub(super) fn state(world: &World, cluster: &str) -> Option<PeerState> {
    world.peer(cluster).map(|peer| peer.state)
}
