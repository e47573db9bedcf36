//! Facts of Gateway API's GatewayClass, Gateway and ReferenceGrant.

use std::collections::BTreeMap;

use isthmus_ir::ObjectRef;

use super::{Meta, ObjectReference};
use crate::kind::Kind;

/// A GatewayClass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatewayClass {
    /// Cluster-scoped.
    pub meta: Meta,
    /// `spec.controllerName`.
    pub controller: String,
    /// `spec.parametersRef`.
    pub parameters: Option<ObjectReference>,
}

/// A Gateway.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gateway {
    /// Its object.
    pub meta: Meta,
    /// `spec.gatewayClassName`.
    pub class: String,
    /// `spec.addresses`.
    pub addresses: Vec<RequestedAddress>,
    /// `spec.infrastructure.parametersRef`, which names no namespace.
    pub parameters: Option<ObjectReference>,
    /// `spec.listeners`.
    pub listeners: Vec<Listener>,
    /// Fields that are set and that Isthmus does not implement, as paths from the object's root, such as
    /// `spec.tls.frontend` or `spec.listeners[0].filters`: what they ask for is refused, not left out.
    pub unsupported: Vec<String>,
}

impl GatewayClass {
    /// The GatewayParameters that it names; none when it names none, or what are none.
    pub fn named_parameters(&self) -> Option<ObjectRef> {
        let reference = self.parameters.as_ref().filter(|reference| names_parameters(reference))?;
        Some(ObjectRef::new(reference.namespace.as_deref()?, &reference.name))
    }
}

impl Gateway {
    /// The GatewayParameters that it names, which are of its own namespace; none when it names none, or
    /// what are none.
    pub fn named_parameters(&self) -> Option<ObjectRef> {
        let reference = self.parameters.as_ref().filter(|reference| names_parameters(reference))?;
        Some(ObjectRef::new(&self.meta.namespace, &reference.name))
    }
}

fn names_parameters(reference: &ObjectReference) -> bool {
    let kind = Kind::GatewayParameters;
    reference.kind.group == kind.group() && reference.kind.kind == kind.as_str()
}

/// One of `spec.addresses`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestedAddress {
    /// `type`; the default is `IPAddress`.
    pub kind: String,
    /// `value`; empty where the choice is ours.
    pub value: String,
    /// `routability`; empty where nothing is asked for (GEP-5093).
    pub routability: String,
}

/// One of `spec.listeners`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// `name`.
    pub name: String,
    /// `hostname`; empty and absent are the same.
    pub hostname: Option<String>,
    /// `port`.
    pub port: u16,
    /// `protocol`, as written.
    pub protocol: String,
    /// `tls`.
    pub tls: Option<ListenerTls>,
    /// `allowedRoutes`.
    pub allowed: AllowedRoutes,
}

/// `tls` of a listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerTls {
    /// `mode`; the default is `Terminate`.
    pub mode: TlsMode,
    /// `certificateRefs`, with defaults filled in.
    pub certificates: Vec<ObjectReference>,
    /// `options`, as written.
    pub options: BTreeMap<String, String>,
}

/// `tls.mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsMode {
    /// TLS ends at the Gateway.
    Terminate,
    /// TLS is passed on unopened.
    Passthrough,
}

/// `allowedRoutes`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllowedRoutes {
    /// `namespaces`; the default is `Same`.
    pub namespaces: AllowedNamespaces,
    /// `kinds`; empty means those that suit the protocol.
    pub kinds: Vec<GroupKind>,
}

/// `allowedRoutes.namespaces`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AllowedNamespaces {
    /// Any.
    All,
    /// That of the Gateway.
    Same,
    /// Those with these labels.
    Selector(LabelSelector),
    /// None.
    None,
}

/// A group and a kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct GroupKind {
    /// Empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
}

/// `metav1.LabelSelector`; all requirements must hold. `matchLabels` are requirements with `In` and one
/// value.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LabelSelector {
    /// In any order; empty selects everything.
    pub requirements: Vec<Requirement>,
}

/// One requirement of a label selector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// How it is compared.
    pub operator: SelectorOperator,
    /// With what.
    pub values: Vec<String>,
}

/// The operator of a requirement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SelectorOperator {
    /// The label's value is one of the values.
    In,
    /// The label is absent or has another value.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// An operator that the specification does not know: selects nothing.
    Unknown(String),
}

impl LabelSelector {
    /// Whether `labels` are selected.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|r| {
            let value = labels.get(&r.key);
            match &r.operator {
                SelectorOperator::In => value.is_some_and(|v| r.values.contains(v)),
                SelectorOperator::NotIn => value.is_none_or(|v| !r.values.contains(v)),
                SelectorOperator::Exists => value.is_some(),
                SelectorOperator::DoesNotExist => value.is_none(),
                SelectorOperator::Unknown(_) => false,
            }
        })
    }
}

/// GatewayParameters: that they are there, and could be read. What they say is for whoever runs Gateways.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatewayParameters {
    /// Their object.
    pub meta: Meta,
}

/// A ReferenceGrant: lets objects of other namespaces refer to objects of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReferenceGrant {
    /// Its namespace is that of the targets.
    pub meta: Meta,
    /// `spec.from`.
    pub from: Vec<GrantFrom>,
    /// `spec.to`.
    pub to: Vec<GrantTo>,
}

/// One of `spec.from`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrantFrom {
    /// Group and kind of the referring object.
    pub kind: GroupKind,
    /// Its namespace.
    pub namespace: String,
}

/// One of `spec.to`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrantTo {
    /// Group and kind of the target.
    pub kind: GroupKind,
    /// Its name; none means every object of the kind.
    pub name: Option<String>,
}
