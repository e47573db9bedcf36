//! A `parametersRef` -> why it cannot be used, if so: of a GatewayClass and of a Gateway alike.
//!
//! What parameters say is for whoever runs the proxies. Here they are only known to be there, so that nothing
//! that a proxy is told follows from them.

use isthmus_ir::ObjectRef;
use isthmus_world::{
    Kind,
    fact::{Gateway, GatewayClass, ObjectReference},
};

/// What is known of the GatewayParameters that a reference names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Known {
    /// Nothing: there are none of that name.
    #[default]
    Missing,
    /// They cannot be read, for this reason.
    Unreadable(String),
    /// They are there.
    There,
}

/// Why the parameters of `gateway` cannot be used; none when they can, or when it asks for none.
pub fn fault_of_gateway(gateway: &Gateway, known: &Known) -> Option<String> {
    let reference = gateway.parameters.as_ref()?;
    let named = gateway.named_parameters();
    fault("spec.infrastructure.parametersRef", reference, named.as_ref(), known)
}

/// Why the parameters of `class` cannot be used; none when they can, or when it asks for none.
pub fn fault_of_class(class: &GatewayClass, known: &Known) -> Option<String> {
    let reference = class.parameters.as_ref()?;
    let named = class.named_parameters();
    fault("spec.parametersRef", reference, named.as_ref(), known)
}

fn fault(
    field: &str,
    reference: &ObjectReference,
    named: Option<&ObjectRef>,
    known: &Known,
) -> Option<String> {
    let Some(named) = named else {
        let (group, kind, name) = (&reference.kind.group, &reference.kind.kind, &reference.name);
        let why = if Kind::of(group, kind) == Some(Kind::GatewayParameters) {
            "of no namespace; add their namespace".to_owned()
        } else {
            format!("of group {group:?}; supported are GatewayParameters of isthmus.dev")
        };
        return Some(format!("{field} names {kind} {name} {why}"));
    };
    match known {
        Known::There => None,
        Known::Missing => Some(format!("{field} names GatewayParameters {named}, which does not exist")),
        Known::Unreadable(why) => {
            Some(format!("{field} names GatewayParameters {named}, which cannot be used: {why}"))
        }
    }
}
