//! Winners and conflicts among the exports of one service.

use std::sync::Arc;

use isthmus_world::fact::{ExportedPort, ExportedService, ImportType, SessionAffinity};

use super::{
    Conflict, ConflictKind, ImportInput, ImportPort,
    accept::{accept, accept_own},
};
use crate::{failover::Levels, refusal::Refusal};

/// One export that counts, and whose it is.
#[derive(Debug)]
pub(super) struct Believed<'a> {
    pub(super) exported: ExportedService,
    /// None: this cluster's own.
    pub(super) peer: Option<&'a isthmus_world::fact::PeerFact>,
}

pub(super) struct Merged {
    pub(super) kind: ImportType,
    pub(super) affinity: SessionAffinity,
    pub(super) ports: Vec<ImportPort>,
    pub(super) conflicts: Vec<Conflict>,
}

/// All exports that count, by precedence: oldest first, then by cluster id.
pub(super) fn believed<'a>(input: &ImportInput<'a>) -> (Vec<Believed<'a>>, Vec<Refusal>) {
    let mut refusals = Vec::new();
    let mut exports: Vec<_> = input
        .peers
        .iter()
        .filter_map(|e| Some((e.peer, accept(input.settings, e.peer, e.exported, &mut refusals)?)))
        .map(|(peer, exported)| Believed { exported, peer: Some(peer) })
        .collect();
    let own = input.local.and_then(|own| accept_own(input.settings, own.exported));
    exports.extend(own.map(|exported| Believed { exported, peer: None }));
    exports.sort_by(|a, b| precedence(&a.exported).cmp(&precedence(&b.exported)));
    refusals.sort();
    (exports, refusals)
}

fn precedence(exported: &ExportedService) -> (i64, &str) {
    (exported.created, &exported.cluster)
}

pub(super) fn clusters(exports: &[Believed<'_>]) -> Vec<Arc<str>> {
    let mut clusters: Vec<_> = exports.iter().map(|e| Arc::clone(&e.exported.cluster)).collect();
    clusters.sort();
    clusters
}

/// The levels of failover among all who export it.
pub(super) fn levels(exports: &[Believed<'_>], prefer_zone: bool) -> Levels {
    Levels::new(exports.iter().filter_map(|e| e.peer), prefer_zone)
}

pub(super) fn merge(exports: &[Believed<'_>]) -> Merged {
    let Some((oldest, younger)) = exports.split_first() else {
        let (kind, affinity) = (ImportType::ClusterSetIp, SessionAffinity::None);
        return Merged { kind, affinity, ports: Vec::new(), conflicts: Vec::new() };
    };
    let oldest = &oldest.exported;
    let mut conflicts = Vec::new();
    let ports = union(exports);
    for export in exports {
        conflicts.extend(port_conflicts(&export.exported, &ports));
    }
    for export in younger {
        conflicts.extend(global_conflicts(oldest, &export.exported));
    }
    conflicts.sort_by(|a, b| (a.kind, &a.cluster).cmp(&(b.kind, &b.cluster)));
    Merged {
        kind: oldest.kind,
        affinity: oldest.affinity,
        ports: ports.into_iter().map(|(_, port)| port).collect(),
        conflicts,
    }
}

/// The union of ports with the cluster that each is from: an export's port is added when no older one has
/// its name, nor its protocol and number.
fn union(exports: &[Believed<'_>]) -> Vec<(Arc<str>, ImportPort)> {
    let mut ports: Vec<(Arc<str>, ImportPort)> = Vec::new();
    for export in exports {
        for port in &export.exported.ports {
            if !ports.iter().any(|(_, kept)| clash(kept, port)) {
                ports.push((Arc::clone(&export.exported.cluster), as_import(port)));
            }
        }
    }
    ports.sort_by(|(_, a), (_, b)| (a.port, &a.protocol).cmp(&(b.port, &b.protocol)));
    ports
}

fn clash(kept: &ImportPort, port: &ExportedPort) -> bool {
    kept.name == port.name || (kept.port == port.port && kept.protocol == port.protocol)
}

fn as_import(port: &ExportedPort) -> ImportPort {
    ImportPort {
        name: port.name.clone(),
        port: port.port,
        protocol: port.protocol.clone(),
        app_protocol: port.app_protocol.clone(),
    }
}

/// Ports of `export` that yielded to another cluster's, and ports of other clusters that it lacks.
fn port_conflicts(export: &ExportedService, union: &[(Arc<str>, ImportPort)]) -> Vec<Conflict> {
    let conflict =
        |detail| Conflict { kind: ConflictKind::Port, cluster: Arc::clone(&export.cluster), detail };
    let mut found = Vec::new();
    for port in &export.ports {
        let own = as_import(port);
        for (winner, kept) in union.iter().filter(|(_, kept)| clash(kept, port) && *kept != own) {
            let detail =
                format!("port {} yields to port {} of cluster {winner}", show(&own), show(kept));
            found.push(conflict(detail));
        }
    }
    for (owner, kept) in union.iter().filter(|(_, kept)| !export.ports.iter().any(|p| clash(kept, p))) {
        let detail =
            format!("it lacks port {} of cluster {owner}, and gets no traffic of it", show(kept));
        found.push(conflict(detail));
    }
    found
}

fn global_conflicts(oldest: &ExportedService, export: &ExportedService) -> Vec<Conflict> {
    let mut found = Vec::new();
    let mut add =
        |kind, detail| found.push(Conflict { kind, cluster: Arc::clone(&export.cluster), detail });
    if export.kind != oldest.kind {
        let detail = match oldest.kind {
            ImportType::Headless => "its Service has a cluster IP, that of cluster {} is headless",
            ImportType::ClusterSetIp => "its Service is headless, that of cluster {} has a cluster IP",
        };
        add(ConflictKind::Type, detail.replace("{}", &oldest.cluster));
    }
    if export.affinity != oldest.affinity {
        let detail = match oldest.affinity {
            SessionAffinity::ClientIp => "sessionAffinity None yields to ClientIP of cluster {}",
            SessionAffinity::None => "sessionAffinity ClientIP yields to None of cluster {}",
        };
        add(ConflictKind::SessionAffinity, detail.replace("{}", &oldest.cluster));
    }
    found
}

fn show(port: &ImportPort) -> String {
    let name = if port.name.is_empty() { "(unnamed)" } else { &port.name };
    let app = port.app_protocol.as_deref().map(|app| format!(" {app}")).unwrap_or_default();
    format!("{name} {}/{}{app}", port.port, port.protocol)
}
