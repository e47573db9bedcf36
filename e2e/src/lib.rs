//! End-to-end tests are in `tests/`. Here is what several of them need: the programs, real Kubernetes
//! clusters, and container images.

pub mod api_server;
pub mod cache;
pub mod cluster;
pub mod conformance;
pub mod control_plane;
pub mod faults;
pub mod furnished;
pub mod image;
pub mod install;
pub mod product;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::atomic::{AtomicU16, Ordering},
};

/// Where `isthmus` and `isthmus-proxy` are: above this test's own program.
///
/// # Panics
/// When they were not built.
#[allow(clippy::panic, reason = "tests fail by panicking")]
pub fn programs() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    let directory = exe.ancestors().find(|directory| directory.join("isthmus").is_file());
    let Some(directory) = directory else {
        panic!("no `isthmus` beside {}: build the programs first, as `make test` does", exe.display())
    };
    directory.to_owned()
}

/// An address that is free: a loopback address of this process alone, so that no other test, and no
/// outgoing connection, takes its ports.
pub fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Of all 22 bits that the id of a process can have.
    let [_, top, high, low] = std::process::id().to_be_bytes();
    let ip = IpAddr::V4(Ipv4Addr::new(127, 64 | (top & 0x3f), high, low));
    loop {
        let port = 20_000 + NEXT.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::new(ip, port);
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
