//! One cluster: its users' truth, its control plane with the production state machines, its disk, and what
//! its proxies were told last.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use isthmus_east_west::{
    export::Export,
    handle::HandleKey,
    import::{Import, ImportInput, LocalExport, PeerExport, import},
    invite::{Invitation, InvitationId, Member as Identity},
    lease::Timing,
    peer::{Peer, Saved},
    trust::{Trust, trust, usable},
};
use isthmus_ir::{Endpoints, Handle, ObjectRef, TrustDomain};
use isthmus_world::fact::{ExportedService, MeshSettings, PeerFact};

use crate::{
    bug::{self, Bug},
    check::Oracle,
    data::Proxy,
    evil,
    rng::Rng,
    sim::Job,
    truth::{NAMES, Truth, domain, number, settings},
};

/// What a delta machine holds or has sent.
pub(crate) type Held = BTreeMap<ObjectRef, Arc<ExportedService>>;

/// As production's, but that a peer is forgotten within a run.
pub(crate) fn timing() -> Timing {
    Timing { grace: Duration::from_mins(1), ..Timing::default() }
}

pub(crate) struct Cluster {
    pub(crate) id: usize,
    pub(crate) settings: MeshSettings,
    pub(crate) key: HandleKey,
    pub(crate) truth: Truth,
    /// How fast its clock runs, in millionths of true time.
    rate: u64,
    /// How wrong its wall clock is, in seconds.
    wall: i64,
    /// It says what it must not.
    pub(crate) evil: bool,
    pub(crate) plane: Option<Plane>,
    pub(crate) generation: u32,
    pub(crate) paused: bool,
    pub(crate) mailbox: Vec<(u32, Job)>,
    pub(crate) disk: Disk,
    /// What proxies and the east-west gateway hold, whether the control plane runs or not.
    pub(crate) told: Option<Arc<Snapshot>>,
    pub(crate) proxy: Proxy,
    /// Whom it has left, or who has left it.
    pub(crate) left: BTreeSet<usize>,
}

/// What outlives a restart of the control plane.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) members: BTreeMap<usize, (Saved, bool)>,
    pub(crate) invitations: BTreeMap<InvitationId, Invitation>,
}

/// A running control plane.
pub(crate) struct Plane {
    pub(crate) boot: u64,
    /// Whether it has read all of its own objects.
    pub(crate) synced: bool,
    pub(crate) members: BTreeMap<usize, Member>,
    pub(crate) own: BTreeMap<ObjectRef, Export>,
    local: BTreeMap<ObjectRef, BTreeMap<u16, Arc<Endpoints>>>,
    pub(crate) refresh_due: bool,
}

/// A peer as a control plane has it.
pub(crate) struct Member {
    pub(crate) peer: Peer,
    /// What the World holds of it.
    pub(crate) fact: PeerFact,
    pub(crate) world: Option<Held>,
    /// What the delta machine holds of it, and what that has staged.
    pub(crate) held: Option<Held>,
    pub(crate) staged: Held,
    pub(crate) conn: Option<u64>,
    pub(crate) streams: u64,
    /// Whether this side dials.
    pub(crate) dialer: bool,
    pub(crate) oracle: Oracle,
}

/// What proxies and gateway are told at once.
pub(crate) struct Snapshot {
    pub(crate) trust: Trust,
    pub(crate) imports: Vec<Import>,
    pub(crate) handles: BTreeMap<String, Arc<Handle>>,
    pub(crate) peers: BTreeMap<usize, Seen>,
}

/// What a snapshot rests on, for the checks.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) usable: bool,
    pub(crate) services: BTreeSet<String>,
    pub(crate) handles: BTreeSet<String>,
    pub(crate) epochs: BTreeSet<String>,
}

impl Cluster {
    pub(crate) fn new(id: usize, rng: &mut Rng, evil: bool) -> Self {
        let wall = i64::try_from(rng.range(0, 1200)).unwrap() - 600;
        Self {
            id,
            settings: settings(id),
            key: HandleKey::new(rng.bytes()),
            truth: Truth::new(id, rng, 1_800_000_000 + wall),
            rate: rng.range(970_000, 1_030_000),
            wall,
            evil,
            plane: None,
            generation: 0,
            paused: false,
            mailbox: Vec::new(),
            disk: Disk::default(),
            told: None,
            proxy: Proxy::default(),
            left: BTreeSet::new(),
        }
    }

    /// The monotonic clock of the running control plane.
    pub(crate) fn clock(&self, now: u64) -> Duration {
        let boot = self.plane.as_ref().map_or(0, |plane| plane.boot);
        Duration::from_secs(1000) + Duration::from_micros((now - boot) * self.rate / 1000)
    }

    /// Milliseconds of true time until the clock shows `then`.
    pub(crate) fn until(&self, now: u64, then: Duration) -> u64 {
        let left = then.saturating_sub(self.clock(now)).as_micros() * 1000 / u128::from(self.rate);
        u64::try_from(left).unwrap() + 1
    }

    /// Seconds since 1970, as this cluster believes.
    pub(crate) fn wall_clock(&self, now: u64) -> i64 {
        1_800_000_000 + self.wall + i64::try_from(now / 1000).unwrap()
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity {
            cluster: NAMES[self.id].into(),
            trust_domain: domain(self.id),
            roots: vec![bytes::Bytes::from(format!("root of {}", NAMES[self.id]))],
            gateways: vec![([198, 51, 100, u8::try_from(self.id).unwrap()], 15443).into()],
        }
    }

    pub(crate) fn member(&mut self, peer: usize) -> Option<&mut Member> {
        self.plane.as_mut()?.members.get_mut(&peer)
    }

    /// Reads the users' manifests.
    pub(crate) fn read(&mut self) {
        let Some(plane) = &mut self.plane else { return };
        let domains: Vec<TrustDomain> = plane.trusted(&self.settings).callers;
        plane.own = self.truth.exports(&self.key, &domains);
        let names = self.truth.services.keys();
        plane.local =
            names.map(|name| (ObjectRef::new("shop", *name), self.truth.endpoints(name))).collect();
    }

    /// What is exported, as `peer` is told.
    pub(crate) fn view(&self, peer: usize) -> Held {
        let own = self.plane.iter().flat_map(|plane| &plane.own);
        let exported = own.filter_map(|(object, e)| Some((object.clone(), e.exported.as_ref()?)));
        let views = exported.map(|(o, e)| (o, isthmus_east_west::export::view(e, NAMES[peer])));
        let mut views: Held = views.collect();
        if self.evil {
            evil::forge(self.id, &mut views);
        }
        views
    }

    /// What proxies are to be told now.
    pub(crate) fn snapshot(&self, bug: Option<Bug>) -> Snapshot {
        let plane = self.plane.as_ref().unwrap();
        let trust = plane.trusted(&self.settings);
        let mut objects: BTreeSet<_> =
            plane.own.iter().filter(|(_, e)| e.exported.is_some()).map(|(o, _)| o.clone()).collect();
        objects.extend(
            plane.members.values().filter_map(|m| m.world.as_ref()).flat_map(|w| w.keys().cloned()),
        );
        let handles = plane.own.values().flat_map(|e| &e.handles);
        Snapshot {
            imports: objects.iter().map(|object| self.import(object, bug)).collect(),
            handles: handles.map(|h| (h.name.to_string(), Arc::clone(h))).collect(),
            peers: plane.members.iter().map(|(id, member)| (*id, member.seen())).collect(),
            trust,
        }
    }

    fn import(&self, object: &ObjectRef, bug: Option<Bug>) -> Import {
        let plane = self.plane.as_ref().unwrap();
        let exports = plane.members.values().filter_map(|m| Some((m, m.world.as_ref()?.get(object)?)));
        let exports: Vec<_> =
            exports.map(|(m, e)| (bug::peer(bug, &m.fact, e), bug::exported(bug, e))).collect();
        let peers: Vec<_> =
            exports.iter().map(|(peer, exported)| PeerExport { peer, exported }).collect();
        let own = plane.own.get(object).and_then(|e| e.exported.as_deref());
        let local = own.zip(plane.local.get(object));
        import(&ImportInput {
            settings: &self.settings,
            object,
            local: local.map(|(exported, endpoints)| LocalExport { exported, endpoints }),
            peers: &peers,
            prefer_zone: false,
        })
    }
}

impl Plane {
    pub(crate) fn new(boot: u64) -> Self {
        Self {
            boot,
            synced: false,
            members: BTreeMap::new(),
            own: BTreeMap::new(),
            local: BTreeMap::new(),
            refresh_due: false,
        }
    }

    pub(crate) fn trusted(&self, settings: &MeshSettings) -> Trust {
        trust(settings, self.members.values().map(|member| &member.fact))
    }
}

impl Member {
    pub(crate) fn new(peer: Peer, dialer: bool, oracle: Oracle) -> Self {
        Self {
            fact: peer.fact().clone(),
            held: peer.may_resume().then(|| keyed(peer.exports().cloned())),
            peer,
            world: None,
            staged: Held::new(),
            conn: None,
            streams: 0,
            dialer,
            oracle,
        }
    }

    fn seen(&self) -> Seen {
        let mut seen = Seen { usable: usable(self.fact.state), ..Seen::default() };
        for export in self.world.iter().flat_map(BTreeMap::values) {
            seen.services.insert(export.name.clone());
            for endpoint in export.ports.iter().flat_map(|port| &port.endpoints) {
                seen.epochs.extend(endpoint.zone.as_ref().map(ToString::to_string));
            }
            let all = export.ports.iter().flat_map(|port| port.endpoints.iter().chain(&port.fallback));
            seen.handles.extend(all.map(|e| e.handle.to_string()));
        }
        seen
    }
}

pub(crate) fn keyed(exports: impl IntoIterator<Item = Arc<ExportedService>>) -> Held {
    exports.into_iter().map(|e| (ObjectRef::new(&e.namespace, &e.name), e)).collect()
}

/// The number of the peer that a resource names.
pub(crate) fn peer_number(name: &isthmus_ir::Name) -> usize {
    number(name.as_str()).unwrap()
}
