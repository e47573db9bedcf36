//! `tls.certificateRefs` of a listener: one unusable reference is reported, and the others serve.

use isthmus_ir::{Name, ObjectRef};
use isthmus_world::fact::{Listener, ObjectReference};

use super::Inputs;
use crate::{
    Condition,
    reference::{Source, namespace},
};

/// What the references of one listener led to.
pub(super) struct Certificates {
    /// Certificates that may be used, in the user's order.
    pub(super) names: Vec<Name>,
    /// `ResolvedRefs`, when something is wrong.
    pub(super) resolved: Option<Condition>,
}

/// Resolves the references of `listener`; there are none to resolve where TLS does not end.
pub(super) fn certificates(inputs: Inputs<'_>, listener: &Listener) -> Certificates {
    let mut found = Certificates { names: Vec::new(), resolved: None };
    if listener.protocol != "HTTPS" {
        return found;
    }
    let references = listener.tls.as_ref().map_or(&[][..], |tls| &tls.certificates);
    for (index, reference) in references.iter().enumerate() {
        match resolve(inputs, reference) {
            Ok(name) if found.names.contains(&name) => {}
            Ok(name) => found.names.push(name),
            Err((reason, message)) => {
                let message =
                    format!("certificateRefs[{index}] of listener {}: {message}", listener.name);
                found.resolved.get_or_insert_with(|| Condition::not("ResolvedRefs", reason, message));
            }
        }
    }
    if references.is_empty() {
        let message =
            format!("listener {} has no tls.certificateRefs: name a Secret there", listener.name);
        found.resolved = Some(Condition::not("ResolvedRefs", "InvalidCertificateRef", message));
    }
    found
}

fn resolve(inputs: Inputs<'_>, reference: &ObjectReference) -> Result<Name, (&'static str, String)> {
    let invalid = |message: String| ("InvalidCertificateRef", message);
    let kind = &reference.kind;
    if !kind.group.is_empty() || kind.kind != "Secret" {
        let message =
            format!("kind {} of group {:?} holds no certificates; use Secret", kind.kind, kind.group);
        return Err(invalid(message));
    }
    let source = Source::gateway_api("Gateway", &inputs.gateway.meta.namespace);
    inputs.grants.permit(source, reference).map_err(|e| ("RefNotPermitted", e.to_string()))?;
    let secret = ObjectRef::new(namespace(source, reference), &reference.name);
    match inputs.certificates.get(&secret).map(|c| &**c) {
        None => Err(invalid(format!("there is no Secret {secret} of type kubernetes.io/tls"))),
        Some(Err(why)) => Err(invalid(why.clone())),
        Some(Ok(certificate)) => Ok(certificate.name.clone()),
    }
}
