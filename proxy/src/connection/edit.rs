//! What is changed in a request and in its answer on the way: by the rule, and at the edge by us.
//!
//! At the edge nothing that a client says of itself is believed: `X-Forwarded-*`, `Forwarded` and the like
//! are replaced or removed, and so is every name that meshes use among themselves (cases.md B11, B12).
//! What comes from a peer's proxy is passed on as it is.

use isthmus_ir::matcher::rewrite;

use super::{Client, decide, decide::Matched};
use crate::{
    http1::{Edits, FieldName, FieldsView, Known, Request, Response},
    plan::{Backend, Edit, EditKind, Plan},
};

/// Names that only proxies may say to each other.
const OURS: [&[u8]; 2] = [b"x-isthmus-", b"x-envoy-"];

/// What a client at the edge cannot say.
const CLAIMS: [Known; 6] = [
    Known::Forwarded,
    Known::XForwardedHost,
    Known::XForwardedPort,
    Known::XForwardedClientCert,
    Known::XRealIp,
    Known::IsthmusUnreached,
];

/// Edits a request on its way to `backend`, or to a mirror; `target` becomes what the upstream is asked for, when that is not what came.
pub(crate) fn request(
    client: &Client,
    matched: &Matched<'_>,
    backend: Option<&Backend>,
    request: Request<'_>,
    edits: &mut Edits,
    target: &mut Vec<u8>,
) {
    let fields = request.fields();
    if !client.is_mesh() {
        forwarded(client, fields, edits);
    }
    apply(&matched.plan.request, fields, edits);
    if let Some(backend) = backend {
        apply(&backend.request, fields, edits);
    }
    let filter = backend.and_then(|backend| backend.rewrite.as_ref()).or(matched.plan.rewrite.as_ref());
    if let Some(host) = filter.and_then(|filter| filter.hostname.as_ref()) {
        // Checked when the plan was made.
        let _ = edits.set(fields, Known::Host.into(), host.as_bytes());
    }
    let path = filter.and_then(|filter| filter.path.as_ref());
    if matched.plain && path.is_none() {
        return;
    }
    let Ok(normal) = decide::path(request) else { return };
    match path {
        // Checked when the plan was made; what has no prefix to replace stays as it is.
        Some(path) if rewrite::path(path, matched.prefix, &normal, target).is_ok() => {}
        _ if &*normal == b"*" => return,
        _ => target.extend_from_slice(&normal),
    }
    if let Some(query) = request.query() {
        target.push(b'?');
        target.extend_from_slice(query);
    }
}

fn forwarded(client: &Client, fields: FieldsView<'_>, edits: &mut Edits) {
    for claim in CLAIMS {
        if fields.has(claim) {
            edits.remove(fields, claim.into());
        }
    }
    remove_ours(fields, edits);
    // Both are made by us and hold no control byte.
    let _ = edits.set(fields, Known::XForwardedFor.into(), client.address_text());
    let _ = edits.set(fields, Known::XForwardedProto.into(), client.scheme().as_bytes());
}

/// Edits an answer.
pub(crate) fn response(
    client: &Client,
    plan: &Plan,
    backend: &Backend,
    response: Response<'_>,
    edits: &mut Edits,
) {
    let fields = response.fields();
    if !client.is_mesh() {
        if fields.has(Known::IsthmusUnreached) {
            edits.remove(fields, Known::IsthmusUnreached.into());
        }
        remove_ours(fields, edits);
    }
    apply(&plan.response, fields, edits);
    apply(&backend.response, fields, edits);
}

fn remove_ours(fields: FieldsView<'_>, edits: &mut Edits) {
    let ours = |name: &[u8]| {
        OURS.iter().any(|front| name.get(..front.len()).is_some_and(|n| n.eq_ignore_ascii_case(front)))
    };
    for field in fields.iter() {
        let candidate = field.known == Known::Other && matches!(field.name, [b'x' | b'X', ..]);
        if candidate
            && ours(field.name)
            && let Some(name) = FieldName::new(field.name)
        {
            edits.remove(fields, name);
        }
    }
}

fn apply(list: &[Edit], fields: FieldsView<'_>, edits: &mut Edits) {
    for edit in list {
        let Some(name) = FieldName::new(&edit.name) else { continue };
        // Values were checked when the plan was made; one that does not fit any more is left out.
        match edit.kind {
            EditKind::Set => drop(edits.set(fields, name, &edit.value)),
            EditKind::Add => drop(edits.add(name, &edit.value)),
            EditKind::Remove => edits.remove(fields, name),
        }
    }
}
