//! GatewayClass, Gateway, GatewayParameters and ReferenceGrant.

use gateway_api::experimental::{
    gatewayclasses::GatewayClassSpec,
    gateways::{
        GatewayListeners, GatewayListenersAllowedRoutes, GatewayListenersAllowedRoutesNamespacesFrom,
        GatewayListenersAllowedRoutesNamespacesSelector as WrittenSelector,
        GatewayListenersAllowedRoutesNamespacesSelectorMatchExpressions as WrittenRequirement,
        GatewayListenersTls, GatewayListenersTlsMode, GatewaySpec,
    },
    referencegrants::ReferenceGrantSpec,
};
use isthmus_crds::GatewayParametersSpec;
use serde_json::Value;

use super::decode::{Fault, Path, optional, port, required};
use crate::{
    fact::{
        AllowedNamespaces, AllowedRoutes, Gateway, GatewayClass, GatewayParameters, GrantFrom, GrantTo,
        GroupKind, LabelSelector, Listener, ListenerTls, Meta, ObjectReference, ReferenceGrant,
        RequestedAddress, Requirement, SelectorOperator, TlsMode,
    },
    kind::Kind,
};

pub(super) fn class(meta: Meta, mut data: Value) -> Result<GatewayClass, Fault> {
    let spec: GatewayClassSpec = required(&mut data, "spec")?;
    let parameters = spec.parameters_ref.map(|written| ObjectReference {
        kind: GroupKind { group: written.group, kind: written.kind },
        namespace: written.namespace,
        name: written.name,
    });
    Ok(GatewayClass { meta, controller: spec.controller_name, parameters })
}

pub(super) fn gateway(meta: Meta, mut data: Value) -> Result<Gateway, Fault> {
    let filters = listener_filters(&data);
    let routability = routability(&data);
    let spec: GatewaySpec = required(&mut data, "spec")?;
    let addresses = spec.addresses.iter().flatten().enumerate();
    let addresses = addresses.map(|(index, address)| RequestedAddress {
        kind: address.r#type.clone().unwrap_or_else(|| "IPAddress".to_owned()),
        value: address.value.clone().unwrap_or_default(),
        routability: routability.get(index).cloned().unwrap_or_default(),
    });
    let parameters = spec.infrastructure.as_ref().and_then(|i| i.parameters_ref.as_ref());
    let parameters = parameters.map(|written| ObjectReference {
        kind: GroupKind { group: written.group.clone(), kind: written.kind.clone() },
        namespace: None,
        name: written.name.clone(),
    });
    Ok(Gateway {
        meta,
        addresses: addresses.collect(),
        parameters,
        unsupported: filters.into_iter().chain(unsupported(&spec)).collect(),
        class: spec.gateway_class_name,
        listeners: spec.listeners.into_iter().enumerate().map(listener).collect::<Result<_, _>>()?,
    })
}

/// `spec.listeners[i].filters`, where it is set: the bindings do not have the field, which the experimental
/// channel has.
fn listener_filters(data: &Value) -> Vec<String> {
    let listeners = data.pointer("/spec/listeners").and_then(Value::as_array).into_iter().flatten();
    let set = |listener: &Value| listener.get("filters").is_some_and(|filters| !filters.is_null());
    let found = listeners.enumerate().filter(|(_, listener)| set(listener));
    found.map(|(index, _)| format!("spec.listeners[{index}].filters")).collect()
}

/// `routability` of each of `spec.addresses`: a field of the experimental channel, like those above.
fn routability(data: &Value) -> Vec<String> {
    let addresses = data.pointer("/spec/addresses").and_then(Value::as_array).into_iter().flatten();
    let asked = |address: &Value| address.get("routability")?.as_str().map(str::to_owned);
    addresses.map(|address| asked(address).unwrap_or_default()).collect()
}

pub(super) fn parameters(meta: Meta, mut data: Value) -> Result<GatewayParameters, Fault> {
    let _: Option<GatewayParametersSpec> = optional(&mut data, "spec")?;
    Ok(GatewayParameters { meta })
}

/// What is asked for and would be missed if it were left out without a word.
fn unsupported(spec: &GatewaySpec) -> Vec<String> {
    let tls = spec.tls.as_ref();
    [
        ("spec.tls.backend", tls.is_some_and(|tls| tls.backend.is_some())),
        ("spec.tls.frontend", tls.is_some_and(|tls| tls.frontend.is_some())),
    ]
    .into_iter()
    .filter(|(_, set)| *set)
    .map(|(field, _)| field.to_owned())
    .collect()
}

fn listener((index, written): (usize, GatewayListeners)) -> Result<Listener, Fault> {
    let path = Path::root("spec").item("listeners", index);
    Ok(Listener {
        name: written.name,
        hostname: written.hostname.filter(|hostname| !hostname.is_empty()),
        port: port(written.port, &path.field("port"))?,
        protocol: written.protocol,
        tls: written.tls.map(listener_tls),
        allowed: written.allowed_routes.map_or_else(same_namespace, allowed_routes),
    })
}

fn listener_tls(written: GatewayListenersTls) -> ListenerTls {
    let certificates = written.certificate_refs.unwrap_or_default();
    ListenerTls {
        mode: match written.mode {
            None | Some(GatewayListenersTlsMode::Terminate) => TlsMode::Terminate,
            Some(GatewayListenersTlsMode::Passthrough) => TlsMode::Passthrough,
        },
        certificates: certificates
            .into_iter()
            .map(|written| ObjectReference {
                kind: GroupKind {
                    group: written.group.unwrap_or_default(),
                    kind: written.kind.unwrap_or_else(|| "Secret".to_owned()),
                },
                namespace: written.namespace,
                name: written.name,
            })
            .collect(),
        options: written.options.unwrap_or_default(),
    }
}

fn same_namespace() -> AllowedRoutes {
    AllowedRoutes { namespaces: AllowedNamespaces::Same, kinds: Vec::new() }
}

fn allowed_routes(written: GatewayListenersAllowedRoutes) -> AllowedRoutes {
    use GatewayListenersAllowedRoutesNamespacesFrom::{All, Same, Selector};
    let kinds = written.kinds.unwrap_or_default();
    AllowedRoutes {
        namespaces: match written.namespaces {
            None => AllowedNamespaces::Same,
            Some(namespaces) => match namespaces.from {
                None | Some(Same) => AllowedNamespaces::Same,
                Some(All) => AllowedNamespaces::All,
                // A selector that is missing selects nothing; an empty one selects everything.
                Some(Selector) => namespaces
                    .selector
                    .map_or(AllowedNamespaces::None, |s| AllowedNamespaces::Selector(selector(s))),
            },
        },
        kinds: kinds
            .into_iter()
            .map(|written| GroupKind {
                group: written.group.unwrap_or_else(|| Kind::Gateway.group().to_owned()),
                kind: written.kind,
            })
            .collect(),
    }
}

fn selector(written: WrittenSelector) -> LabelSelector {
    let labels = written.match_labels.unwrap_or_default().into_iter().map(|(key, value)| Requirement {
        key,
        operator: SelectorOperator::In,
        values: vec![value],
    });
    let expressions = written.match_expressions.unwrap_or_default().into_iter().map(requirement);
    LabelSelector { requirements: labels.chain(expressions).collect() }
}

fn requirement(written: WrittenRequirement) -> Requirement {
    Requirement {
        key: written.key,
        operator: match written.operator.as_str() {
            "In" => SelectorOperator::In,
            "NotIn" => SelectorOperator::NotIn,
            "Exists" => SelectorOperator::Exists,
            "DoesNotExist" => SelectorOperator::DoesNotExist,
            _ => SelectorOperator::Unknown(written.operator),
        },
        values: written.values.unwrap_or_default(),
    }
}

pub(super) fn grant(meta: Meta, mut data: Value) -> Result<ReferenceGrant, Fault> {
    let spec: ReferenceGrantSpec = required(&mut data, "spec")?;
    let from = spec.from.into_iter().map(|from| GrantFrom {
        kind: GroupKind { group: from.group, kind: from.kind },
        namespace: from.namespace,
    });
    let to = spec.to.into_iter().map(|to| GrantTo {
        kind: GroupKind { group: to.group, kind: to.kind },
        name: to.name.filter(|name| !name.is_empty()),
    });
    Ok(ReferenceGrant { meta, from: from.collect(), to: to.collect() })
}

/// The class of a Gateway that may not be readable otherwise.
pub(super) fn readable_class(kind: Kind, data: &Value) -> Option<String> {
    let class = (kind == Kind::Gateway).then(|| data.pointer("/spec/gatewayClassName")).flatten()?;
    class.as_str().map(str::to_owned)
}
