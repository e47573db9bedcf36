//! Backends of a rule, and what its filters refer to: resolved in one place, by one function.

use std::collections::{BTreeMap, BTreeSet};

use isthmus_ir::{BackendTarget, Filter, Name, ObjectRef, Resource, Route};
use isthmus_world::fact::{
    BackendRef, HttpFilter, HttpRoute, ObjectReference, ServicePort, ServiceScope, ServiceType,
};

use super::{Inputs, rule::mirrors};
use crate::{
    Condition,
    backend::{self, BackendKey},
    reference::{Source, namespace},
};

/// The group of MCS (KEP-1645).
const MULTICLUSTER: &str = "multicluster.x-k8s.io";

/// What to gather for an HTTPRoute.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct References {
    /// Services, those of mirrors included.
    pub services: BTreeSet<ObjectRef>,
    /// Objects of kind ServiceImport; with `ServiceScope::ClusterSet` also those of the names of
    /// Services.
    pub imports: BTreeSet<ObjectRef>,
    /// Namespaces of targets, other than the route's.
    pub namespaces: BTreeSet<String>,
}

/// A Service, as policies name it.
const SERVICE: (&str, &str) = ("", "Service");
/// A ServiceImport, which the Service of its name may be part of.
const IMPORT: (&str, &str) = (MULTICLUSTER, "ServiceImport");

/// What a reference of a supported kind names.
enum Target {
    Service,
    Import,
}

/// What `route` refers to.
pub fn references(route: &HttpRoute, scope: ServiceScope) -> References {
    let source = Source::gateway_api("HTTPRoute", &route.meta.namespace);
    let mut found = References::default();
    let all = route.rules.iter().flat_map(|rule| {
        let of_backends = rule.backends.iter().flat_map(|b| mirrors(&b.filters).chain([b]));
        mirrors(&rule.filters).chain(of_backends)
    });
    for backend in all {
        let Some(target) = target(&backend.object) else { continue };
        let object = ObjectRef::new(namespace(source, &backend.object), &backend.object.name);
        if object.namespace != route.meta.namespace {
            found.namespaces.insert(object.namespace.clone());
        }
        match target {
            Target::Import => {
                found.imports.insert(object);
            }
            Target::Service => {
                if scope == ServiceScope::ClusterSet {
                    found.imports.insert(object.clone());
                }
                found.services.insert(object);
            }
        }
    }
    found
}

fn target(reference: &ObjectReference) -> Option<Target> {
    match (reference.kind.group.as_str(), reference.kind.kind.as_str()) {
        SERVICE => Some(Target::Service),
        IMPORT => Some(Target::Import),
        _ => None,
    }
}

/// Resolves the references of one route and remembers those that led nowhere.
pub(super) struct Resolver<'a> {
    inputs: Inputs<'a>,
    known: BTreeMap<Name, BackendKey>,
    unresolved: Vec<Unresolved>,
}

/// Why a reference leads nowhere: a reason of `ResolvedRefs`, and a text.
type Unresolved = (&'static str, String);

impl<'a> Resolver<'a> {
    pub(super) fn new(inputs: Inputs<'a>) -> Self {
        Self { inputs, known: BTreeMap::new(), unresolved: Vec::new() }
    }

    /// `ResolvedRefs`, when all references have been resolved.
    pub(super) fn condition(&self) -> Condition {
        let Some((reason, _)) = self.unresolved.first() else {
            return Condition::is("ResolvedRefs", "ResolvedRefs", "all references are resolved");
        };
        let messages: Vec<_> = self.unresolved.iter().map(|(_, message)| message.as_str()).collect();
        Condition::not("ResolvedRefs", reason, messages.join("; "))
    }

    /// Backends that `rules` refer to.
    pub(super) fn used_by<'r>(
        &self,
        rules: impl IntoIterator<Item = &'r std::sync::Arc<Route>>,
    ) -> BTreeSet<BackendKey> {
        let mut used = BTreeSet::new();
        for rule in rules {
            let visit = |key: isthmus_ir::Key| used.extend(self.known.get(&key.name).cloned());
            Resource::Route(rule.clone()).references(visit);
        }
        used
    }

    /// Where a backend's requests go.
    pub(super) fn target(&mut self, field: &str, backend: &BackendRef) -> BackendTarget {
        match self.resolve(backend) {
            Ok(key) => {
                let name = key.name();
                self.known.insert(name.clone(), key);
                BackendTarget::Service(name)
            }
            Err((reason, message)) => {
                let message = format!("{field}: {message}");
                self.unresolved.push((reason, message.clone()));
                BackendTarget::Invalid { reason: message }
            }
        }
    }

    /// Filters in the IR. A mirror that leads nowhere is left out, as specified.
    ///
    /// # Errors
    /// When an extension is unknown: why.
    pub(super) fn filters(
        &mut self,
        field: &str,
        filters: &[HttpFilter],
    ) -> Result<Vec<Filter>, String> {
        let mut lowered = Vec::with_capacity(filters.len());
        let mut broken = None;
        for (index, filter) in filters.iter().enumerate() {
            let field = format!("{field}[{index}]");
            match filter {
                HttpFilter::Plain(plain) => lowered.push(plain.clone()),
                HttpFilter::Mirror { backend, fraction } => {
                    let target = self.target(&format!("{field}.requestMirror.backendRef"), backend);
                    if matches!(target, BackendTarget::Service(_)) {
                        lowered.push(Filter::Mirror { target, fraction: *fraction });
                    }
                }
                HttpFilter::Extension(reference) => {
                    let message = self.extension(&format!("{field}.extensionRef"), reference);
                    broken.get_or_insert(message);
                }
                // The rule is not valid, and goes nowhere.
                HttpFilter::Unsupported(_) => {}
            }
        }
        broken.map_or(Ok(lowered), Err)
    }

    /// An extension is looked for in the route's namespace and nowhere else (case G2); there is none yet.
    fn extension(&mut self, field: &str, reference: &ObjectReference) -> String {
        let message = format!(
            "{field}: kind {} of group {:?} is no filter: remove it",
            reference.kind.kind, reference.kind.group
        );
        self.unresolved.push(("InvalidKind", message.clone()));
        message
    }

    /// The one way from a backendRef to a backend, for rules and mirrors alike (case G3). Whether a
    /// reference is permitted comes before whether its target exists, which is nobody's business else.
    fn resolve(&self, backend: &BackendRef) -> Result<BackendKey, Unresolved> {
        let reference = &backend.object;
        let kind = &reference.kind;
        let Some(target) = target(reference) else {
            let message = format!(
                "kind {} of group {:?} is no backend; use Service or ServiceImport",
                kind.kind, kind.group
            );
            return Err(("InvalidKind", message));
        };
        let source = Source::gateway_api("HTTPRoute", &self.inputs.route.meta.namespace);
        self.inputs.grants.permit(source, reference).map_err(|e| ("RefNotPermitted", e.to_string()))?;
        let object = ObjectRef::new(namespace(source, reference), &reference.name);
        let Some(port) = backend.port else {
            return Err((
                "BackendNotFound",
                format!("port is missing; {} {object} needs one", kind.kind),
            ));
        };
        match target {
            Target::Service => self.service(object, port),
            Target::Import => self.import(object, port),
        }
    }

    fn service(&self, object: ObjectRef, port: u16) -> Result<BackendKey, Unresolved> {
        let Some(service) = self.inputs.services.get(&object) else {
            return Err(("BackendNotFound", format!("Service {object} does not exist")));
        };
        if service.kind == ServiceType::ExternalName {
            let message = format!("Service {object} is of type ExternalName, which is not followed");
            return Err(("InvalidKind", message));
        }
        let Some(declared) = backend::declared(service, port) else {
            let ports: Vec<_> = service.ports.iter().map(|p| p.port.to_string()).collect();
            let message = format!("Service {object} has no port {port}, but {}", ports.join(", "));
            return Err(("BackendNotFound", message));
        };
        backend::protocol(declared)
            .map_err(|why| ("UnsupportedProtocol", format!("Service {object}: {why}")))?;
        let spans = self.inputs.scope == ServiceScope::ClusterSet
            && self.inputs.imports.get(&object).is_some_and(|i| i.iter().any(|p| p.port == port));
        let kinds: &[_] = if spans { &[SERVICE, IMPORT] } else { &[SERVICE] };
        self.in_the_clear(kinds, &object, declared)?;
        Ok(if spans { BackendKey::ClusterSet(object, port) } else { BackendKey::Cluster(object, port) })
    }

    fn import(&self, object: ObjectRef, port: u16) -> Result<BackendKey, Unresolved> {
        let Some(ports) = self.inputs.imports.get(&object) else {
            let message =
                format!("ServiceImport {object} does not exist: no cluster exports the Service");
            return Err(("BackendNotFound", message));
        };
        let Some(declared) = ports.iter().find(|p| p.port == port) else {
            let message = format!("ServiceImport {object} has no port {port}");
            return Err(("BackendNotFound", message));
        };
        backend::protocol(declared)
            .map_err(|why| ("UnsupportedProtocol", format!("ServiceImport {object}: {why}")))?;
        self.in_the_clear(&[SERVICE, IMPORT], &object, declared)?;
        Ok(BackendKey::ClusterSet(object, port))
    }

    /// Lets a port pass that no BackendTLSPolicy is about. One that wants TLS gets nothing as long as TLS
    /// to it cannot be had (case G13), and the policy need not be valid for that.
    fn in_the_clear(
        &self,
        kinds: &[(&str, &str)],
        object: &ObjectRef,
        port: &ServicePort,
    ) -> Result<(), Unresolved> {
        let Some(asked) = self.inputs.tls.iter().find(|tls| tls.covers(kinds, object, port)) else {
            return Ok(());
        };
        let message = format!(
            "{} {object}: port {} is to be spoken to by TLS, says BackendTLSPolicy {}, and that is not \
             implemented: remove the policy to send to it in the clear",
            asked.target.kind.kind, port.port, asked.policy
        );
        Err(("UnsupportedProtocol", message))
    }
}
