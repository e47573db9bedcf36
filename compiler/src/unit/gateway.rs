//! Gateway -> listeners, how routes see it, and its conditions.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_gateway::{
    certificate::CertificateOutput,
    listener::{self, Exposure, GatewayOutput, Taken, secrets},
    reference::Grants,
};
use isthmus_ir::ObjectRef;
use isthmus_world::{
    World,
    engine::{Plain, Stage, Unit},
    fact::{Address, Gateway, Place, ReferenceGrant},
    same_fields,
};

use super::{
    Certificates, Classes, Ports,
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
    certificates: BTreeMap<ObjectRef, Arc<CertificateOutput>>,
    grants: Vec<Arc<ReferenceGrant>>,
    taken: Plain<Vec<Taken>>,
    /// Those of its Service, where Gateways have Services.
    addresses: Plain<Option<Vec<Address>>>,
}

same_fields!(GatewayInputs { gateway, class_accepted, certificates, grants, taken, addresses });

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
        let taken = context.ports.output(&()).and_then(|taken| taken.get(key));
        Some(GatewayInputs {
            class_accepted: Plain(class.accepted),
            grants: grants(context.world, &key.namespace, namespaces),
            certificates: secrets
                .iter()
                .filter_map(|s| Some((s.clone(), Arc::clone(context.certificates.output(s)?))))
                .collect(),
            taken: Plain(taken.cloned().unwrap_or_default()),
            addresses: Plain(addresses(context.world, key)),
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
            exposure: match &inputs.addresses.0 {
                Some(addresses) => Exposure::Service(addresses),
                None => Exposure::Host,
            },
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

/// The addresses of the Service of a Gateway, where Gateways have Services.
fn addresses(world: &World, gateway: &ObjectRef) -> Option<Vec<Address>> {
    if world.settings().place == Place::Host {
        return None;
    }
    let service = world.gateway_service(gateway);
    Some(service.map(|service| service.gateway_addresses.clone()).unwrap_or_default())
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
