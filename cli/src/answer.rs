//! An answer of `explain`: what becomes of a request at one socket, and why. The same whether a running
//! proxy gave it or it was made from manifests.

mod text;

use std::net::IpAddr;

use isthmus_ir::{
    BackendTarget, EndpointState, Endpoints, Filter, Key, Kind, Name, Peer, Reach, Resource, Timeouts,
    matcher::{
        Decision, Tables,
        explain::{Explanation, Question, explain, location},
    },
};
use serde::{Deserialize, Serialize};

/// How many matches that never were candidates are listed.
const OTHERS: usize = 50;

/// What becomes of a request at one socket.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The proxy that answered; none when it was made from manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) proxy: Option<String>,
    pub(crate) socket: Socket,
    pub(crate) explanation: Explanation,
    /// Those of the rule that won.
    #[serde(default)]
    pub(crate) filters: Vec<Filter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeouts: Option<Timeouts>,
    /// Where it redirects to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
    #[serde(default)]
    pub(crate) backends: Vec<Backend>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Socket {
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Backend {
    pub(crate) weight: u32,
    /// The service; none when the reference could not be resolved.
    pub(crate) service: Option<Name>,
    /// Why it could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) filters: Vec<Filter>,
    pub(crate) endpoints: Option<Vec<Endpoint>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) id: String,
    pub(crate) cluster: String,
    pub(crate) zone: Option<String>,
    pub(crate) priority: u8,
    pub(crate) weight: u32,
    pub(crate) state: EndpointState,
    /// Gateways of the peer that it is behind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) gateways: Vec<String>,
    /// What the proxy knows of its health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) up: Option<bool>,
}

/// What becomes of a request by the resources of one scope.
pub(crate) fn answers(question: &Question, resources: &[Resource]) -> Vec<Answer> {
    let changes: Vec<_> = resources.iter().cloned().map(isthmus_ir::Change::Upsert).collect();
    let tables = Tables::<()>::default().update(&changes, |_| Ok(())).tables;
    question
        .groups(&tables)
        .map(|group| {
            let (explanation, decision) = explain(group, question.connection(), question, OTHERS);
            let bind = group.bind();
            let mut answer = Answer {
                proxy: None,
                socket: Socket { address: bind.address, port: bind.port },
                explanation,
                filters: Vec::new(),
                timeouts: None,
                location: None,
                backends: Vec::new(),
            };
            if let Decision::Route(winner) = decision {
                answer.location = location(&winner, question.connection(), question);
                answer.filters.clone_from(&winner.rule.filters);
                answer.timeouts = Some(winner.rule.timeouts);
                let backends = winner.rule.backends.iter();
                answer.backends = backends.map(|backend| Backend::of(backend, resources)).collect();
            }
            answer
        })
        .collect()
}

impl Backend {
    fn of(backend: &isthmus_ir::Backend, resources: &[Resource]) -> Self {
        let (service, reason) = match &backend.target {
            BackendTarget::Service(name) => (Some(name.clone()), None),
            BackendTarget::Invalid { reason } => (None, Some(reason.clone())),
        };
        let found = service.as_ref().and_then(|name| find(resources, Kind::Endpoints, name));
        let endpoints = found.and_then(|resource| match resource {
            Resource::Endpoints(endpoints) => Some(Endpoint::all(endpoints, resources)),
            _ => None,
        });
        Self { weight: backend.weight, service, reason, filters: backend.filters.clone(), endpoints }
    }
}

impl Endpoint {
    fn all(of: &Endpoints, resources: &[Resource]) -> Vec<Self> {
        of.endpoints.iter().map(|endpoint| Self::of(endpoint, resources)).collect()
    }

    fn of(endpoint: &isthmus_ir::Endpoint, resources: &[Resource]) -> Self {
        let peer = match &endpoint.reach {
            Reach::Peer { peer, .. } => find(resources, Kind::Peer, peer),
            Reach::Direct { .. } => None,
        };
        let gateways = |peer: &Peer| peer.gateways.iter().map(ToString::to_string).collect();
        Self {
            id: endpoint.id.to_string(),
            cluster: endpoint.cluster.to_string(),
            zone: endpoint.zone.as_deref().map(str::to_owned),
            priority: endpoint.priority,
            weight: endpoint.weight,
            state: endpoint.state,
            gateways: match peer {
                Some(Resource::Peer(peer)) => gateways(peer),
                _ => Vec::new(),
            },
            up: None,
        }
    }
}

fn find<'r>(resources: &'r [Resource], kind: Kind, name: &Name) -> Option<&'r Resource> {
    let key = Key::new(kind, name.clone());
    resources.iter().find(|resource| resource.key() == key)
}
