//! What can be asked of a World. Answers are facts or names, in a fixed order; nothing is decided here.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_ir::{Name, ObjectRef};

use super::{Mention, PeerExport, Reports, World};
use crate::{
    fact::{
        BackendTlsPolicy, EndpointSlice, Gateway, GatewayClass, GatewayParameters, HttpRoute,
        MeshSettings, Namespace, PeerFact, PolicyTarget, Problem, ReferenceGrant, Secret, Service,
        ServiceExport,
    },
    kind::{Kind, KindState, ObjectKey},
};

impl World {
    /// Whether enough is known to publish: no kind is pending (case E3).
    pub fn complete(&self) -> bool {
        self.kinds.values().all(|state| *state != KindState::Pending)
    }

    /// The state of a kind.
    pub fn kind_state(&self, kind: Kind) -> KindState {
        self.kinds.get(&kind).copied().unwrap_or(KindState::Pending)
    }

    /// The settings of this cluster.
    pub fn settings(&self) -> &Arc<MeshSettings> {
        &self.settings
    }

    /// The roots of this cluster's own trust domain; none before they are known.
    pub fn roots(&self) -> &Arc<Vec<bytes::Bytes>> {
        &self.roots
    }

    /// The definitions of Gateway API that are there, by name, each with what it says of its release; none
    /// when they are built in.
    pub fn definitions(&self) -> Option<&BTreeMap<String, Option<String>>> {
        self.definitions.as_ref()
    }

    /// The Service in front of a Gateway's pods.
    pub fn gateway_service(&self, gateway: &ObjectRef) -> Option<&Arc<Service>> {
        let name = isthmus_crds::names::of_gateway(&gateway.name);
        self.service(&ObjectRef::new(&gateway.namespace, name))
    }

    /// A GatewayClass.
    pub fn gateway_class(&self, name: &str) -> Option<&Arc<GatewayClass>> {
        self.classes.fact(&ObjectRef::new("", name))
    }

    /// A Gateway.
    pub fn gateway(&self, object: &ObjectRef) -> Option<&Arc<Gateway>> {
        self.gateways.fact(object)
    }

    /// Every Gateway, in order.
    pub fn gateways(&self) -> impl Iterator<Item = &Arc<Gateway>> {
        self.gateways.facts()
    }

    /// An HTTPRoute.
    pub fn http_route(&self, object: &ObjectRef) -> Option<&Arc<HttpRoute>> {
        self.routes.fact(object)
    }

    /// A Namespace that a manifest declares.
    pub fn namespace(&self, name: &str) -> Option<&Arc<Namespace>> {
        self.namespaces.fact(&ObjectRef::new("", name))
    }

    /// A Service.
    pub fn service(&self, object: &ObjectRef) -> Option<&Arc<Service>> {
        self.services.fact(object)
    }

    /// A Secret.
    pub fn secret(&self, object: &ObjectRef) -> Option<&Arc<Secret>> {
        self.secrets.fact(object)
    }

    /// GatewayParameters.
    pub fn gateway_parameters(&self, object: &ObjectRef) -> Option<&Arc<GatewayParameters>> {
        self.parameters.fact(object)
    }

    /// A ServiceExport of this cluster.
    pub fn service_export(&self, object: &ObjectRef) -> Option<&Arc<ServiceExport>> {
        self.exports.fact(object)
    }

    /// The EndpointSlices of a Service, in order of name.
    pub fn slices_of(&self, service: &ObjectRef) -> impl Iterator<Item = &Arc<EndpointSlice>> {
        let mention = Mention::Service(service.clone());
        let named = self.mentions.of(&mention, Kind::EndpointSlice);
        named.filter_map(|slice| self.slices.fact(slice)).collect::<Vec<_>>().into_iter()
    }

    /// Every ReferenceGrant of a namespace, in order of name.
    pub fn grants_in(&self, namespace: &str) -> impl Iterator<Item = &Arc<ReferenceGrant>> {
        self.grants.in_namespace(namespace).map(|(_, grant)| grant)
    }

    /// A BackendTLSPolicy.
    pub fn tls_policy(&self, object: &ObjectRef) -> Option<&Arc<BackendTlsPolicy>> {
        self.tls_policies.fact(object)
    }

    /// What every BackendTLSPolicy of a namespace is about, with the policy. What an older version of one is
    /// about counts as long as that is in force, and what a newer one is about that is not in force, counts
    /// too.
    pub fn tls_targets(&self, namespace: &str) -> impl Iterator<Item = (&ObjectRef, &PolicyTarget)> {
        let refused = self.problems_of(Kind::BackendTlsPolicy);
        let refused = refused.filter(move |(policy, _)| policy.namespace == namespace);
        let refused = refused.map(|(policy, problem)| (policy, &problem.targets));
        let policies = self.tls_policies.in_namespace(namespace);
        let policies = policies.map(|(policy, fact)| (policy, &fact.targets)).chain(refused);
        policies.flat_map(|(policy, targets)| targets.iter().map(move |target| (policy, target)))
    }

    /// What is wrong with the newest version of an object.
    pub fn problem(&self, key: &ObjectKey) -> Option<&Arc<Problem>> {
        self.problems.get(key)
    }

    /// Objects of `kind` whose newest version is not in force, in order.
    pub fn problems_of(&self, kind: Kind) -> impl Iterator<Item = (&ObjectRef, &Arc<Problem>)> {
        let first = ObjectKey { kind, object: ObjectRef::new("", "") };
        let of_kind = self.problems.range(first..).take_while(move |(key, _)| key.kind == kind);
        of_kind.map(|(key, problem)| (&key.object, problem))
    }

    /// Objects of `kind` that mention `mention`, in order.
    pub fn mentioning(&self, mention: &Mention, kind: Kind) -> impl Iterator<Item = &ObjectRef> {
        self.mentions.of(mention, kind)
    }

    /// Objects that mention anything in `namespace` that a ReferenceGrant may protect; one that mentions
    /// several comes several times.
    pub fn mentioning_namespace(&self, namespace: &str) -> impl Iterator<Item = &ObjectKey> {
        self.mentions.of_namespace(namespace)
    }

    /// Every object of `kind` that has a fact or a problem, in order.
    pub fn keys(&self, kind: Kind) -> Vec<ObjectKey> {
        let mut objects: Vec<ObjectRef> = match kind {
            Kind::GatewayClass => self.classes.objects(),
            Kind::Gateway => self.gateways.objects(),
            Kind::HttpRoute => self.routes.objects(),
            Kind::ReferenceGrant => self.grants.objects(),
            Kind::BackendTlsPolicy => self.tls_policies.objects(),
            Kind::Namespace => self.namespaces.objects(),
            Kind::Service => self.services.objects(),
            Kind::EndpointSlice => self.slices.objects(),
            Kind::Secret => self.secrets.objects(),
            Kind::ServiceExport => self.exports.objects(),
            Kind::GatewayParameters => self.parameters.objects(),
        };
        let problems = self.problems.keys().filter(|key| key.kind == kind);
        objects.extend(problems.map(|key| key.object.clone()));
        objects.sort();
        objects.dedup();
        objects.into_iter().map(|object| ObjectKey { kind, object }).collect()
    }

    /// Every HTTPRoute of a namespace, in order.
    pub fn routes_in(&self, namespace: &str) -> impl Iterator<Item = &ObjectRef> {
        self.routes.in_namespace(namespace).map(|(object, _)| object)
    }

    /// Every peer, in order of cluster id.
    pub fn peers(&self) -> impl Iterator<Item = &Arc<PeerFact>> {
        self.peers.facts()
    }

    /// A peer.
    pub fn peer(&self, cluster: &str) -> Option<&Arc<PeerFact>> {
        self.peers.fact(cluster)
    }

    /// The peers' exports of a service, in order of cluster id. A peer whose fact or first whole
    /// snapshot is missing is left out.
    pub fn peer_exports(&self, service: &ObjectRef) -> impl Iterator<Item = PeerExport> {
        self.peers.exports(service)
    }

    /// Every service that some peer exports; one that several export comes several times.
    pub fn peer_exported(&self) -> impl Iterator<Item = &ObjectRef> {
        self.peers.exported()
    }

    /// Scopes that have connected proxies, in order.
    pub fn scopes(&self) -> impl Iterator<Item = &Name> {
        self.proxies.keys()
    }

    /// What the connected proxies of a scope say; none when there are none.
    pub fn reports(&self, scope: &Name) -> Option<&Reports> {
        self.proxies.get(scope)
    }

    /// How many things are kept, indexes included: 0 when everything has been deleted.
    pub fn census(&self) -> usize {
        let facts: usize = Kind::ALL.into_iter().map(|kind| self.keys(kind).len()).sum();
        facts + self.problems.len() + self.mentions.len() + self.peers.len() + self.proxies.len()
    }
}
