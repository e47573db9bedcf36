//! Everything that follows from a set of objects, at once and without a running mesh: for `translate`,
//! `explain` and golden tests. No other code path than the control plane's.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_east_west::handle::HandleKey;
use isthmus_gateway::{CLASS, CONTROLLER};
use isthmus_ir::{Name, Resource};
use isthmus_world::{
    Change, Kind, KindState, ObjectKey,
    fact::{ExportedService, Fact, GatewayClass, MeshSettings, Meta, Problem},
    ingest,
    ingest::{DynamicObject, Unread, refuse},
};

use crate::{Compiler, StatusChange};

/// What follows from a set of objects.
#[derive(Debug)]
pub struct Translation {
    /// What each scope is told, in order of kind and name.
    pub scopes: BTreeMap<Name, Vec<Resource>>,
    /// Every status, in order of kind and object. No proxy is connected, so nothing is programmed.
    pub statuses: Vec<StatusChange>,
    /// What is exported. Handles are not those of a running cluster, whose key is not known here.
    pub exports: Vec<Arc<ExportedService>>,
    /// Objects that could not be read.
    pub problems: Vec<(ObjectKey, Problem)>,
    /// Objects that are not for Isthmus.
    pub unread: Vec<Unread>,
}

/// The GatewayClass that is implied where no manifest declares it.
pub fn implied_class() -> Fact {
    Fact::GatewayClass(GatewayClass {
        meta: Meta { name: CLASS.to_owned(), generation: 1, ..Meta::default() },
        controller: CONTROLLER.to_owned(),
        parameters: None,
    })
}

/// An object whose author is to be told that it breaks a rule, and which is not used.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The object.
    pub object: DynamicObject,
    /// The field.
    pub field: Option<String>,
    /// What is wrong with it.
    pub message: String,
}

/// Translates `objects`, and says of those that were `refused` what their status says; of several versions of one object the last counts.
pub fn translate_all(
    settings: MeshSettings,
    objects: impl IntoIterator<Item = DynamicObject>,
    refused: impl IntoIterator<Item = Refused>,
) -> Translation {
    let mut compiler = Compiler::new(settings, HandleKey::new([0; 32]));
    compiler.apply(Change::Upsert(implied_class()));
    let (mut problems, mut unread) = (Vec::new(), Vec::new());
    for object in objects {
        match ingest(object) {
            Ok(change) => {
                if let Change::Problem { key, problem } = &change {
                    problems.push((key.clone(), problem.clone()));
                }
                compiler.apply(change);
            }
            Err(why) => unread.push(why),
        }
    }
    for Refused { object, field, message } in refused {
        match refuse(&object, field, message) {
            Ok(change) => compiler.apply(change),
            Err(why) => unread.push(why),
        }
    }
    for kind in Kind::ALL {
        compiler.apply(Change::Kind { kind, state: KindState::Synced });
    }
    compiler.refresh();
    let snapshot = |scope: &Name| Some((scope.clone(), compiler.snapshot(scope)?));
    Translation {
        scopes: compiler.scopes().filter_map(snapshot).collect(),
        statuses: compiler.statuses().collect(),
        exports: compiler.exports().cloned().collect(),
        problems,
        unread,
    }
}
