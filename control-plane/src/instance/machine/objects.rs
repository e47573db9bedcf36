//! Between objects as files have them and as the World has them.

use std::net::IpAddr;

use isthmus_east_west::import::Import;
use isthmus_ir::ObjectRef;
use isthmus_world::{Change, Kind, ObjectKey, ingest};
use serde_json::Value;

use crate::files::{document::dynamic, kinds::ObjectId, set::Edit};

/// What an edit means to the World; none when it means nothing there.
pub(super) fn change(edit: &Edit) -> Option<Change> {
    let read = match edit {
        Edit::Upsert(_, object) => ingest::ingest(dynamic(object)?),
        Edit::Problem { object, field, message, .. } => {
            ingest::refuse(&dynamic(object)?, field.clone(), message.clone())
        }
        Edit::Delete(id) => {
            let kind = Kind::of(&id.group, &id.kind)?;
            return Some(Change::Delete(ObjectKey::new(kind, &id.namespace, &id.name)));
        }
    };
    read.inspect_err(|error| tracing::debug!(%error, "object means nothing to the world")).ok()
}

/// The id of an object that the World knows.
pub(super) fn id(kind: Kind, object: &ObjectRef) -> ObjectId {
    ObjectId {
        group: kind.group().to_owned(),
        kind: kind.as_str().to_owned(),
        namespace: object.namespace.clone(),
        name: object.name.clone(),
    }
}

/// The id of a derived ServiceImport.
pub(super) fn import_id(object: &ObjectRef) -> ObjectId {
    ObjectId {
        group: isthmus_crds::MCS_GROUP.to_owned(),
        kind: "ServiceImport".to_owned(),
        namespace: object.namespace.clone(),
        name: object.name.clone(),
    }
}

/// A derived ServiceImport as an object, and its status.
pub(super) fn import(import: &Import, ips: &[IpAddr]) -> (ObjectId, Value, Option<Value>) {
    let mut object = import.to_json(ips);
    let status = object.as_object_mut().and_then(|fields| fields.remove("status"));
    (import_id(&import.object), object, status)
}

#[cfg(test)]
mod tests {
    use isthmus_world::Change;
    use serde_json::json;

    use super::change;
    use crate::files::{kinds::ObjectId, set::Edit};

    #[test]
    fn a_refused_object_with_senseless_labels_is_still_a_problem() {
        let id = ObjectId {
            group: String::new(),
            kind: "Service".to_owned(),
            namespace: "shop".to_owned(),
            name: "a".to_owned(),
        };
        let object = json!({"apiVersion": "v1", "kind": "Service", "spec": {},
            "metadata": {"name": "a", "namespace": "shop", "generation": 3, "labels": {"x": 1}}});
        let message = "must be a text".to_owned();
        let edit = Edit::Problem { id, object, field: None, message };
        let Some(Change::Problem { key, problem }) = change(&edit) else { panic!("no problem") };
        assert_eq!((key.to_string().as_str(), problem.generation), ("Service shop/a", 3));
    }
}
