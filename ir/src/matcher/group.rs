//! Listeners that share a socket, and which of them a connection or a request belongs to.
//!
//! The hostname decides, most specific first, as Gateway API has it for distinct listeners; a request
//! belongs to one listener and sees no route of another (listener isolation). In TLS the server name
//! chooses the listener, and the host must belong to that same one (`Listener.hostname`; RFC 9110,
//! section 15.5.20): otherwise a client authenticated for one host could reach another.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use super::{bucket::Bucket, hosts::Hosts, request::Connection};
use crate::{HostPattern, Listener, Protocol};

/// A socket to accept on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Bind {
    /// None: every address of the machine, of both families.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

/// A listener with the rules that are attached to it.
pub(super) struct Attached<P> {
    pub(super) listener: Arc<Listener>,
    /// By the hostnames of rules. A request's host is always one of the listener's own.
    pub(super) hosts: Hosts<Arc<Bucket<P>>>,
}

impl<P> Clone for Attached<P> {
    fn clone(&self) -> Self {
        Self { listener: self.listener.clone(), hosts: self.hosts.clone() }
    }
}

/// The listeners of one [`Bind`]; each by its place in the tables.
pub(super) struct Members {
    pub(super) bind: Bind,
    /// In order of name.
    pub(super) all: Vec<usize>,
    clear: Hosts<usize>,
    tls: Hosts<usize>,
}

/// No listener takes the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoListener {
    /// The host is nobody's.
    Unknown,
    /// The host is that of the second, the server name that of the first.
    Misdirected(Option<usize>, usize),
}

impl Members {
    /// The listener that ends TLS for a client which asks for `server_name`.
    pub(super) fn by_server_name(&self, server_name: Option<&str>) -> Option<usize> {
        server_name.map_or_else(|| self.tls.any(), |name| self.tls.best(name)).copied()
    }

    /// The listener that a request belongs to.
    pub(super) fn by_request(
        &self,
        connection: Connection<'_>,
        host: &str,
    ) -> Result<usize, NoListener> {
        let Connection::Tls { server_name } = connection else {
            return self.clear.best(host).copied().ok_or(NoListener::Unknown);
        };
        let owner = self.tls.best(host).copied().ok_or(NoListener::Unknown)?;
        if server_name == Some(host) {
            return Ok(owner);
        }
        match self.by_server_name(server_name) {
            Some(chosen) if chosen == owner => Ok(owner),
            chosen => Err(NoListener::Misdirected(chosen, owner)),
        }
    }
}

/// Groups listeners, given in order of name, by their sockets. A listener without addresses takes part on
/// each socket of its port.
pub(super) fn group(listeners: &[&Arc<Listener>]) -> Vec<Members> {
    let binds: BTreeSet<Bind> = listeners.iter().flat_map(|listener| binds(listener)).collect();
    binds.into_iter().map(|bind| members(bind, listeners)).collect()
}

fn binds(listener: &Listener) -> impl Iterator<Item = Bind> + '_ {
    let all = listener.addresses.is_empty().then_some(None);
    let addresses = all.into_iter().chain(listener.addresses.iter().copied().map(Some));
    addresses.map(|address| Bind { address, port: listener.port })
}

fn members(bind: Bind, listeners: &[&Arc<Listener>]) -> Members {
    let mut members = Members { bind, all: Vec::new(), clear: Hosts::default(), tls: Hosts::default() };
    for (place, listener) in
        listeners.iter().enumerate().filter(|(_, listener)| takes_part(listener, bind))
    {
        members.all.push(place);
        let pattern: &HostPattern = &listener.hostname;
        // Of two with one hostname, which the control plane never sends, the first by name stands.
        match &listener.protocol {
            Protocol::Http => members.clear.get_or_insert(pattern, || place),
            Protocol::Https { .. } => members.tls.get_or_insert(pattern, || place),
            Protocol::EastWest => continue,
        };
    }
    members
}

fn takes_part(listener: &Listener, bind: Bind) -> bool {
    let own = |address| listener.addresses.contains(&address);
    listener.port == bind.port && (listener.addresses.is_empty() || bind.address.is_some_and(own))
}
