//! HTTPRoute -> the listeners that it is attached to.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_gateway::attachment::{self, Parent, gateways};
use isthmus_ir::ObjectRef;
use isthmus_world::{
    World,
    engine::{Stage, Unit},
    fact::{HttpRoute, Meta, Namespace},
    same_fields,
};

use super::Gateways;

/// One for each HTTPRoute with a parent of ours.
#[derive(Debug)]
pub(crate) struct Attachments;

#[derive(Debug)]
pub(crate) struct AttachmentInputs {
    route: Arc<HttpRoute>,
    parents: BTreeMap<ObjectRef, Arc<Parent>>,
    namespace: Option<Arc<Namespace>>,
}

same_fields!(AttachmentInputs { route, parents, namespace });

impl Unit for Attachments {
    type Key = ObjectRef;
    type Inputs = AttachmentInputs;
    type Output = attachment::Attachments;
    type Context<'a> = (&'a World, &'a Stage<Gateways>);

    fn gather((world, stage): &Self::Context<'_>, key: &ObjectRef) -> Option<AttachmentInputs> {
        let route = world.http_route(key)?;
        let parents: BTreeMap<_, _> = gateways(&**route)
            .filter_map(|gateway| {
                let parent = Arc::clone(&stage.output(&gateway)?.parent);
                Some((gateway, parent))
            })
            .collect();
        let namespace = world.namespace(&key.namespace).cloned();
        (!parents.is_empty()).then(|| AttachmentInputs { route: Arc::clone(route), parents, namespace })
    }

    fn translate(key: &ObjectRef, inputs: &AttachmentInputs) -> Self::Output {
        let implied;
        let namespace = if let Some(namespace) = &inputs.namespace {
            namespace
        } else {
            implied = implied_namespace(&key.namespace);
            &implied
        };
        attachment::translate(&attachment::Inputs {
            route: &*inputs.route,
            parents: &inputs.parents,
            namespace: Some(namespace),
        })
    }
}

/// A namespace that no manifest declares has the label that every namespace has.
fn implied_namespace(name: &str) -> Namespace {
    let label = ("kubernetes.io/metadata.name".to_owned(), name.to_owned());
    let meta = Meta { name: name.to_owned(), labels: Arc::new([label].into()), ..Meta::default() };
    Namespace { meta }
}
