//! Gateway -> listeners, how routes see it, and its conditions.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_gateway::{
    certificate::CertificateOutput,
    listener::{self, Exposure, GatewayOutput, Given, Taken, secrets},
    parameters::Known,
    reference::Grants,
};
use isthmus_ir::ObjectRef;
use isthmus_world::{
    World,
    engine::{Plain, Stage, Unit},
    fact::{Gateway, Place, ReferenceGrant, Service},
    same_fields,
};

use super::{
    Certificates, Classes, Ports,
    class::known_parameters,
    keep::{keep, keep_all},
};

/// One for each Gateway of a class of ours.
#[derive(Debug)]
pub(crate) struct Gateways;

/// What is read.
pub(crate) struct GatewaysContext<'a> {
    pub(crate) world: &'a World,
    pub(crate) classes: &'a Stage<Classes>,
    pub(crate) certificates: &'a Stage<Certificates>,
    pub(crate) ports: &'a Stage<Ports>,
}

#[derive(Debug)]
pub(crate) struct GatewayInputs {
    gateway: Arc<Gateway>,
    class_accepted: Plain<bool>,
    parameters: Plain<Known>,
    certificates: BTreeMap<ObjectRef, Arc<CertificateOutput>>,
    grants: Vec<Arc<ReferenceGrant>>,
    taken: Plain<Vec<Taken>>,
    place: Plain<Place>,
    /// Its Service, where Gateways have Services.
    service: Option<Arc<Service>>,
}

same_fields!(GatewayInputs {
    gateway,
    class_accepted,
    parameters,
    certificates,
    grants,
    taken,
    place,
    service
});

impl Unit for Gateways {
    type Key = ObjectRef;
    type Inputs = GatewayInputs;
    type Output = GatewayOutput;
    type Context<'a> = GatewaysContext<'a>;

    fn gather(context: &GatewaysContext<'_>, key: &ObjectRef) -> Option<GatewayInputs> {
        let gateway = context.world.gateway(key)?;
        let class = context.classes.output(&gateway.class)?.as_ref().as_ref()?;
        let secrets = secrets(gateway);
        let namespaces = secrets.iter().map(|secret| secret.namespace.as_str());
        let place = context.world.settings().place;
        let taken = context.ports.output(&()).and_then(|taken| taken.get(key));
        Some(GatewayInputs {
            class_accepted: Plain(class.accepted),
            grants: grants(context.world, &key.namespace, namespaces),
            certificates: secrets
                .iter()
                .filter_map(|s| Some((s.clone(), Arc::clone(context.certificates.output(s)?))))
                .collect(),
            taken: Plain(taken.cloned().unwrap_or_default()),
            place: Plain(place),
            service: (place == Place::Pods)
                .then(|| context.world.gateway_service(key))
                .flatten()
                .cloned(),
            parameters: Plain(known_parameters(context.world, gateway.named_parameters())),
            gateway: Arc::clone(gateway),
        })
    }

    fn translate(_: &ObjectRef, inputs: &GatewayInputs) -> GatewayOutput {
        listener::translate(listener::Inputs {
            gateway: &inputs.gateway,
            class_accepted: inputs.class_accepted.0,
            certificates: &inputs.certificates,
            grants: Grants(&inputs.grants),
            taken: &inputs.taken.0,
            exposure: exposure(inputs),
            parameters: &inputs.parameters.0,
        })
    }

    fn settle(old: &GatewayOutput, new: GatewayOutput) -> GatewayOutput {
        GatewayOutput {
            listeners: keep_all(&old.listeners, new.listeners, |listener| &listener.name),
            runs: new.runs,
            parent: keep(&old.parent, new.parent),
            report: new.report,
        }
    }
}

fn exposure(inputs: &GatewayInputs) -> Exposure<'_> {
    if inputs.place.0 == Place::Host {
        return Exposure::Host;
    }
    let given = inputs
        .service
        .as_deref()
        .map(|service| Given { own: &service.gateway_addresses, cluster: &service.gateway_cluster_ips });
    Exposure::Service(given.unwrap_or_default())
}

/// Grants in those of `namespaces` that are not `own`, each once.
pub(crate) fn grants<'a>(
    world: &World,
    own: &str,
    namespaces: impl Iterator<Item = &'a str>,
) -> Vec<Arc<ReferenceGrant>> {
    let foreign: std::collections::BTreeSet<_> = namespaces.filter(|name| *name != own).collect();
    foreign.into_iter().flat_map(|name| world.grants_in(name)).cloned().collect()
}
