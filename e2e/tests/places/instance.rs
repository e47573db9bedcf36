//! What `edge` asks of `isthmus run` on a directory, of a cluster.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU16, Ordering},
    },
    thread::sleep,
    time::Duration,
};

use serde_json::Value;

pub use super::directory::{PATIENCE, eventually, gateway, gateway_of, route, route_of, service};
use super::{
    mesh::{Mesh, Proxies},
    objects::{Object, read},
};

/// How long the address of the backends stays after it was last asked for: longer than a test takes.
const ADDRESS_SECONDS: &str = "180";
/// Below the ports that systems take for connections of their own.
const FIRST_PORT: u16 = 12_000;

/// Where backends listen, and clients find Gateways: an address of this machine that is no loopback address
/// for an API server. It is this process's, and goes away by itself.
pub fn backends() -> IpAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(198, 18, high, low.clamp(1, 254));
    let mut command = Command::new("ip");
    command.args(["address", "replace", &format!("{ip}/32"), "dev", "lo"]);
    command.args(["valid_lft", ADDRESS_SECONDS, "preferred_lft", ADDRESS_SECONDS]);
    assert!(command.status().unwrap().success(), "an address is added to this machine, as root");
    ip.into()
}

/// An address that is free, for every address of this machine.
pub fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(FIRST_PORT);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return SocketAddr::new(backends(), port);
        }
    }
}

/// Manifests on an API server, and the proxies of their Gateways. There is one at a time: they use the same
/// names.
pub struct Instance {
    /// How many Gateways are programmed, as `isthmus run` says it.
    pub ready: String,
    files: RefCell<BTreeMap<String, Vec<Object>>>,
    _proxies: Proxies,
    mesh: Arc<Mesh>,
    _turn: MutexGuard<'static, ()>,
}

/// The mesh of the tests that run now; the last one of them ends it.
fn mesh() -> Arc<Mesh> {
    static MESH: Mutex<Weak<Mesh>> = Mutex::new(Weak::new());
    let mut shared = MESH.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let mesh = Arc::new(Mesh::start());
        *shared = Arc::downgrade(&mesh);
        mesh
    })
}

impl Instance {
    /// Applies the manifests, and waits until all Gateways and routes are in force.
    pub fn start(manifests: &str) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let mesh = mesh();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let objects = read(manifests);
        mesh.make_namespaces(&objects);
        for (index, age) in ages(&objects).iter().enumerate() {
            if index > 0 {
                // API servers count age in seconds, by a clock that nobody can turn.
                sleep(Duration::from_millis(1100));
            }
            mesh.apply(objects.iter().filter(|object| object.age() == *age));
        }
        let gateways: Vec<_> = objects.iter().filter(|object| object.is_gateway()).collect();
        let proxies = mesh.serve(&gateways);
        eventually("the routes", || mesh.settled(&objects).then_some(()));
        let programmed = gateways.iter().filter(|gateway| mesh.programmed(gateway)).count();
        let ready = format!("ready: {programmed} of {} gateways programmed", gateways.len());
        let files = RefCell::new([("all.yaml".to_owned(), objects)].into());
        Self { ready, files, _proxies: proxies, mesh, _turn: turn }
    }

    /// Applies a file of manifests, and deletes what it had before and has no more.
    pub fn write(&self, name: &str, manifests: &str) {
        let objects = read(manifests);
        self.mesh.make_namespaces(&objects);
        self.mesh.apply(objects.iter());
        let before = self.files.borrow_mut().insert(name.to_owned(), objects);
        let files = self.files.borrow();
        let gone = before
            .iter()
            .flatten()
            .filter(|old| !files[name].iter().any(|new| new.identity() == old.identity()));
        self.mesh.delete(gone);
    }

    pub fn remove(&self, name: &str) {
        let objects = self.files.borrow_mut().remove(name);
        self.mesh.delete(objects.iter().flatten());
    }

    /// An object as it is there.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Value {
        self.mesh.get(kind, namespace, name)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.mesh.delete(self.files.borrow().values().flatten());
    }
}

/// The ages that objects claim, oldest first.
fn ages(objects: &[Object]) -> Vec<String> {
    let mut ages: Vec<_> = objects.iter().map(Object::age).collect();
    ages.sort();
    ages.dedup();
    ages
}
