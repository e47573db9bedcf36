//! Status of each Gateway.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_gateway::{
    Condition,
    listener::{GatewayOutput, GatewayReport},
    status::{Progress, gateway},
};
use isthmus_ir::{Key, Kind as IrKind, ObjectRef};
use isthmus_world::{
    Kind, ObjectKey, World,
    engine::{Plain, Stage, Unit},
    fact::{Gateway, Problem},
    same_fields,
};
use serde_json::Value;

use crate::{
    count::Attached,
    milestone::{Milestones, Subject, progress},
    scope::gateway_scope,
    unit::{Classes, Gateways},
};

/// One for each Gateway of a class of ours, readable or not.
#[derive(Debug)]
pub(crate) struct GatewayStatuses;

/// What is read.
pub(crate) struct GatewayStatusesContext<'a> {
    pub(crate) world: &'a World,
    pub(crate) classes: &'a Stage<Classes>,
    pub(crate) gateways: &'a Stage<Gateways>,
    pub(crate) attached: &'a Attached,
    pub(crate) milestones: &'a Milestones,
}

#[derive(Debug)]
pub(crate) struct GatewayStatusInputs {
    gateway: Option<Arc<Gateway>>,
    output: Option<Arc<GatewayOutput>>,
    attached: Plain<BTreeMap<String, u32>>,
    progress: Plain<Progress>,
    problem: Option<Arc<Problem>>,
    fault: Option<Arc<str>>,
}

same_fields!(GatewayStatusInputs { gateway, output, attached, progress, problem, fault });

impl Unit for GatewayStatuses {
    type Key = ObjectRef;
    type Inputs = GatewayStatusInputs;
    type Output = Option<Value>;
    type Context<'a> = GatewayStatusesContext<'a>;

    fn gather(context: &GatewayStatusesContext<'_>, key: &ObjectRef) -> Option<GatewayStatusInputs> {
        let at = ObjectKey { kind: Kind::Gateway, object: key.clone() };
        let problem = context.world.problem(&at);
        let gateway = context.world.gateway(key);
        let class = gateway.map(|gateway| &gateway.class).or(problem.and_then(|p| p.class.as_ref()))?;
        context.classes.output(class)?.as_ref().as_ref()?;
        Some(GatewayStatusInputs {
            gateway: gateway.cloned(),
            output: context.gateways.output(key).cloned(),
            attached: Plain(context.attached.of(key)),
            progress: Plain(own_progress(context, key)),
            problem: problem.cloned(),
            fault: context.gateways.fault(key).cloned(),
        })
    }

    fn translate(key: &ObjectRef, inputs: &GatewayStatusInputs) -> Option<Value> {
        let generation = inputs.gateway.as_ref().map_or(0, |gateway| gateway.meta.generation);
        let problem = super::problem(inputs.problem.as_ref(), inputs.fault.as_ref(), generation);
        let (attached, progress) = (&inputs.attached.0, &inputs.progress.0);
        if let (Some(fact), Some(output)) = (&inputs.gateway, &inputs.output) {
            return Some(gateway(fact, &output.report, attached, progress, problem.as_deref()));
        }
        let problem = problem?;
        let unread = unread_gateway(key, &problem);
        Some(gateway(&unread, &unread_report(&problem), &BTreeMap::new(), &Progress::default(), None))
    }
}

fn own_progress(context: &GatewayStatusesContext<'_>, key: &ObjectRef) -> Progress {
    let scope = gateway_scope(key);
    let Some(revision) = context.milestones.revision(&scope, Subject::Gateway) else {
        return Progress::default();
    };
    let listeners = format!("{key}/");
    let owns = |key: &Key| match key.kind {
        IrKind::Listener => key.name.as_str().starts_with(&listeners),
        IrKind::Certificate => true,
        _ => false,
    };
    progress(context.world.reports(&scope), revision, owns, Some(&listeners))
}

/// A Gateway of which no version could be read.
fn unread_gateway(object: &ObjectRef, problem: &Problem) -> Gateway {
    Gateway {
        meta: super::unread_meta(object, problem.generation),
        class: problem.class.clone().unwrap_or_default(),
        addresses: Vec::new(),
        parameters: None,
        listeners: Vec::new(),
        unsupported: Vec::new(),
    }
}

fn unread_report(problem: &Problem) -> GatewayReport {
    let message = super::said(problem);
    GatewayReport {
        conditions: vec![Condition::not("Accepted", "Invalid", message)],
        unprogrammable: Some(Condition::not("Programmed", "Invalid", "the Gateway is not accepted")),
        unaddressed: None,
        addresses: Vec::new(),
        listeners: Vec::new(),
    }
}
