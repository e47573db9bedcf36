//! Statuses: the last units, after scopes are known. What they say is `gateway`'s and `east-west`'s.

mod class;
mod export;
mod gateway;
mod route;

pub(crate) use class::{ClassStatuses, ClassStatusesContext};
pub(crate) use export::{ExportStatuses, ExportStatusesContext};
pub(crate) use gateway::{GatewayStatuses, GatewayStatusesContext};
pub(crate) use route::{RouteStatuses, RouteStatusesContext};

use std::sync::Arc;

use isthmus_world::fact::{Meta, Problem};

/// What is wrong with the newest version of an object: the user's mistake, or else a fault of ours.
fn problem(
    known: Option<&Arc<Problem>>,
    fault: Option<&Arc<str>>,
    generation: i64,
) -> Option<Arc<Problem>> {
    let ours = || {
        let message = format!("this is an error of Isthmus, please report it: {}", fault?);
        Some(Arc::new(Problem { message, generation, ..Problem::default() }))
    };
    known.cloned().or_else(ours)
}

/// `metadata` of an object that cannot be read.
fn unread_meta(object: &isthmus_ir::ObjectRef, generation: i64) -> Meta {
    let (namespace, name) = (object.namespace.clone(), object.name.clone());
    Meta { namespace, name, generation, ..Meta::default() }
}

/// What is wrong, with the field that is to blame.
pub(crate) fn said(problem: &Problem) -> String {
    let field = problem.field.as_deref().map(|field| format!("{field}: ")).unwrap_or_default();
    format!("{field}{}", problem.message)
}
