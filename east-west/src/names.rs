//! Imports -> how they are reached by their clusterset names where they have no address of their own: what
//! names resolve to, and a listener and a route of the east-west gateway for each port.
//!
//! Every name resolves to one address, and each port of an import has a port there for itself, which SRV
//! records tell. It is derived, so that it is the same after a restart: each (import, port) asks for ports
//! of the range in an order of its own, and the oldest import is asked first, so that a newer one never
//! takes the port of an older one; ports that the cluster itself uses are asked of nobody. Only what carries requests is listened for; the rest has no name.
//!
//! What is listened on is clear text, for this machine or whoever is near: never where peers come in, since
//! that would open to strangers what is exported to us alone (case H7).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use isthmus_ir::{
    Attachment, Backend, BackendProtocol, BackendTarget, HostPattern, Listener, Name, ObjectRef,
    PathMatch, Protocol, RetryPolicy, Route, RouteId, RouteKind, RouteMatch, Service, Timeouts,
};
use isthmus_world::fact::{NameSettings, ServicePort};
use sha2::{Digest, Sha256};

use crate::{
    dns::{Entry, Port, Table},
    listener::{EAST_WEST, SYSTEM},
};

/// What sections of listeners begin with.
const NAMES: &str = "names";

/// Whether a listener of the east-west gateway is one by which an import is reached by name, and none for
/// peers.
pub fn is_of_name(listener: &Name) -> bool {
    let section = listener.as_str().splitn(3, '/').nth(2);
    section.and_then(|section| section.split_once('/')).is_some_and(|(first, _)| first == NAMES)
}

/// An import that may be named.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Its namespace and name.
    pub object: &'a ObjectRef,
    /// [`Import::created`](crate::import::Import).
    pub created: i64,
    /// Its ports.
    pub ports: &'a [ServicePort],
}

/// What follows from all imports.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    /// What is answered.
    pub table: Arc<Table>,
    /// One for each port that is named, in order of import and port.
    pub listeners: Vec<Arc<Listener>>,
    /// One for each listener.
    pub routes: Vec<Arc<Route>>,
    /// Ports of imports that would be named, had the range room for them.
    pub left_out: Vec<(ObjectRef, u16)>,
}

impl Names {
    /// Every (import, port) that is named.
    pub fn asked(&self) -> impl Iterator<Item = (ObjectRef, u16)> {
        let port =
            |route: &Arc<Route>| Some((route.route.object.clone(), u16::try_from(route.rule).ok()?));
        self.routes.iter().filter_map(port)
    }
}

/// Names `imports` in `cluster`. They may come in any order.
pub fn names<'a>(
    settings: &NameSettings,
    cluster: &str,
    imports: impl IntoIterator<Item = Named<'a>>,
) -> Names {
    let mut claims: Vec<_> = imports
        .into_iter()
        .flat_map(|import| import.ports.iter().map(move |port| (import.created, import.object, port)))
        .filter(|(_, _, port)| carries_requests(port))
        .collect();
    claims.sort_by_key(|(created, object, port)| (*created, *object, port.port));
    let mut taken = settings.reserved.clone();
    let mut given: BTreeMap<&ObjectRef, BTreeMap<u16, (&ServicePort, u16)>> = BTreeMap::new();
    let mut names = Names::default();
    for (_, object, port) in claims {
        match free(settings, &taken, preference(cluster, object, port.port)) {
            Some(number) => {
                taken.insert(number);
                given.entry(object).or_default().insert(port.port, (port, number));
            }
            None => names.left_out.push((object.clone(), port.port)),
        }
    }
    let mut table = Table::default();
    for (object, ports) in &given {
        table.insert(object, entry(settings, ports));
        for (port, number) in ports.values() {
            let listener = listener(settings, object, port.port, *number);
            names.routes.push(Arc::new(route(object, port.port, &listener)));
            names.listeners.push(Arc::new(listener));
        }
    }
    Names { table: Arc::new(table), ..names }
}

/// Whether the east-west gateway can listen for the port: it carries HTTP, and nothing else so far.
fn carries_requests(port: &ServicePort) -> bool {
    port.protocol == "TCP" && BackendProtocol::of_app_protocol(port.app_protocol.as_deref()).is_some()
}

/// Where the search for a port begins. The cluster is part of it, so that two clusters of one machine do
/// not ask for the same ports.
fn preference(cluster: &str, object: &ObjectRef, port: u16) -> u32 {
    let digest = Sha256::digest(format!("{cluster}/{object}/{port}"));
    digest.iter().take(4).fold(0, |sum, byte| (sum << 8) | u32::from(*byte))
}

/// The first port from the preferred one on, around the range, that nobody has.
fn free(settings: &NameSettings, taken: &BTreeSet<u16>, preference: u32) -> Option<u16> {
    let (first, last) = (u32::from(*settings.ports.start()), u32::from(*settings.ports.end()));
    let length = (last + 1).checked_sub(first).filter(|length| *length > 0)?;
    let mut tried = (0..length).map(|step| first + (preference % length + step) % length);
    tried.find_map(|number| u16::try_from(number).ok().filter(|number| !taken.contains(number)))
}

fn entry(settings: &NameSettings, ports: &BTreeMap<u16, (&ServicePort, u16)>) -> Entry {
    let port = |(port, number): &(&ServicePort, u16)| Port {
        name: port.name.clone(),
        protocol: port.protocol.clone(),
        port: *number,
    };
    Entry::ClusterSetIp { addresses: vec![settings.address], ports: ports.values().map(port).collect() }
}

fn listener(settings: &NameSettings, object: &ObjectRef, port: u16, number: u16) -> Listener {
    let gateway = ObjectRef::new(SYSTEM, EAST_WEST);
    let section = format!("{NAMES}/{object}/{port}");
    Listener {
        name: Listener::name(&gateway, &section),
        gateway,
        section,
        addresses: vec![settings.address],
        port: number,
        hostname: HostPattern::Any,
        protocol: Protocol::Http,
    }
}

/// Every request of the listener goes to the import's port.
fn route(object: &ObjectRef, port: u16, listener: &Listener) -> Route {
    let route = RouteId { kind: RouteKind::Import, object: object.clone() };
    let every = RouteMatch {
        path: PathMatch::Prefix("/".to_owned()),
        method: None,
        headers: Vec::new(),
        query: Vec::new(),
    };
    let target = BackendTarget::Service(Service::clusterset_name(object, port));
    Route {
        name: Route::name(&route, u32::from(port)),
        route,
        rule: u32::from(port),
        rule_name: None,
        created: 0,
        attachments: vec![Attachment {
            listener: listener.name.clone(),
            hostnames: vec![HostPattern::Any],
        }],
        matches: vec![every],
        filters: Vec::new(),
        backends: vec![Backend { weight: 1, target, filters: Vec::new() }],
        timeouts: Timeouts::default(),
        retry: RetryPolicy::default(),
    }
}
