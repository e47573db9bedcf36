//! Which objects name which: the index by which a change finds what may follow from it.

use std::collections::BTreeSet;

use isthmus_ir::ObjectRef;

use crate::{
    fact::{
        BackendRef, BackendTlsPolicy, EndpointSlice, Gateway, GatewayClass, GatewayParameters,
        GroupKind, HttpFilter, HttpRoute, Namespace, ReferenceGrant, Secret, Service, ServiceExport,
    },
    kind::{Kind, ObjectKey},
};

/// An object that another one names, whether it is there or not.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mention {
    /// A GatewayClass, by a Gateway.
    Class(String),
    /// A Gateway, by a route's parentRef.
    Gateway(ObjectRef),
    /// A Service, by a backendRef, an EndpointSlice or the Gateway that it is in front of.
    Service(ObjectRef),
    /// A ServiceImport, by a backendRef.
    Import(ObjectRef),
    /// A Secret, by a certificateRef.
    Secret(ObjectRef),
    /// GatewayParameters, by a parametersRef.
    Parameters(ObjectRef),
}

/// A fact that may name objects.
pub(super) trait Mentioning {
    /// What it names, each once.
    fn mentions(&self) -> Vec<Mention> {
        Vec::new()
    }
}

impl Mentioning for BackendTlsPolicy {}
impl Mentioning for GatewayParameters {}
impl Mentioning for Namespace {}
impl Mentioning for ReferenceGrant {}
impl Mentioning for Secret {}
impl Mentioning for Service {}
impl Mentioning for ServiceExport {}

impl Mentioning for EndpointSlice {
    fn mentions(&self) -> Vec<Mention> {
        vec![Mention::Service(ObjectRef::new(&self.meta.namespace, &self.service))]
    }
}

impl Mentioning for GatewayClass {
    fn mentions(&self) -> Vec<Mention> {
        self.named_parameters().map(Mention::Parameters).into_iter().collect()
    }
}

impl Mentioning for Gateway {
    fn mentions(&self) -> Vec<Mention> {
        let service = isthmus_crds::names::of_gateway(&self.meta.name);
        let service = Mention::Service(ObjectRef::new(&self.meta.namespace, service));
        let mut found = BTreeSet::from([Mention::Class(self.class.clone()), service]);
        found.extend(self.named_parameters().map(Mention::Parameters));
        for reference in
            self.listeners.iter().filter_map(|l| l.tls.as_ref()).flat_map(|t| &t.certificates)
        {
            if is(&reference.kind, Kind::Secret) {
                let namespace = reference.namespace.as_ref().unwrap_or(&self.meta.namespace);
                found.insert(Mention::Secret(ObjectRef::new(namespace, &reference.name)));
            }
        }
        found.into_iter().collect()
    }
}

impl Mentioning for HttpRoute {
    fn mentions(&self) -> Vec<Mention> {
        let own = &self.meta.namespace;
        let mut found = BTreeSet::new();
        for parent in self.parents.iter().filter(|p| is(&p.kind, Kind::Gateway)) {
            let namespace = parent.namespace.as_ref().unwrap_or(own);
            found.insert(Mention::Gateway(ObjectRef::new(namespace, &parent.name)));
        }
        for rule in &self.rules {
            let mirrors = rule.backends.iter().flat_map(|b| &b.filters).chain(&rule.filters);
            let mirrors = mirrors.filter_map(mirrored);
            found.extend(rule.backends.iter().chain(mirrors).filter_map(|b| backend(own, b)));
        }
        found.into_iter().collect()
    }
}

fn mirrored(filter: &HttpFilter) -> Option<&BackendRef> {
    match filter {
        HttpFilter::Mirror { backend, .. } => Some(backend),
        HttpFilter::Plain(_) | HttpFilter::Extension(_) | HttpFilter::Unsupported(_) => None,
    }
}

fn backend(own: &str, reference: &BackendRef) -> Option<Mention> {
    let object = &reference.object;
    let namespace = object.namespace.as_deref().unwrap_or(own);
    let target = ObjectRef::new(namespace, &object.name);
    if is(&object.kind, Kind::Service) {
        return Some(Mention::Service(target));
    }
    let import = object.kind.group == Kind::ServiceExport.group() && object.kind.kind == "ServiceImport";
    import.then_some(Mention::Import(target))
}

fn is(written: &GroupKind, kind: Kind) -> bool {
    written.group == kind.group() && written.kind == kind.as_str()
}

/// The index: pairs of what is named and what names it.
#[derive(Debug, Default)]
pub(super) struct Mentions(BTreeSet<(Mention, ObjectKey)>);

impl Mentions {
    /// Takes back what `key` mentioned and notes what it mentions now.
    pub(super) fn replace(&mut self, key: &ObjectKey, old: &[Mention], new: &[Mention]) {
        for mention in old {
            self.0.remove(&(mention.clone(), key.clone()));
        }
        self.0.extend(new.iter().map(|mention| (mention.clone(), key.clone())));
    }

    /// The objects of `kind` that mention `mention`, in order.
    pub(super) fn of(&self, mention: &Mention, kind: Kind) -> impl Iterator<Item = &ObjectRef> {
        let mention = mention.clone();
        let first = (mention.clone(), ObjectKey { kind, object: ObjectRef::new("", "") });
        self.0
            .range(first..)
            .take_while(move |(m, key)| *m == mention && key.kind == kind)
            .map(|(_, key)| &key.object)
    }

    /// The objects that mention anything in `namespace` that a ReferenceGrant may protect.
    pub(super) fn of_namespace(&self, namespace: &str) -> impl Iterator<Item = &ObjectKey> {
        let least = ObjectKey { kind: Kind::GatewayClass, object: ObjectRef::new("", "") };
        [Mention::Service, Mention::Import, Mention::Secret].into_iter().flat_map(move |variant| {
            let first = (variant(ObjectRef::new(namespace, "")), least.clone());
            // The least namespace that comes after this one.
            let past = (variant(ObjectRef::new(format!("{namespace}\0"), "")), least.clone());
            self.0.range(first..past).map(|(_, key)| key)
        })
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
