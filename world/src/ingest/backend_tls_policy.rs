//! BackendTLSPolicy: what it is about. How TLS is spoken to that is not read, as it is not spoken yet.

use serde::Deserialize;
use serde_json::Value;

use super::decode::{Fault, required};
use crate::{
    fact::{BackendTlsPolicy, GroupKind, Meta, PolicyTarget},
    kind::Kind,
};

/// The bindings do not have the kind.
#[derive(Deserialize)]
struct WrittenSpec {
    #[serde(rename = "targetRefs")]
    targets: Vec<WrittenTarget>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenTarget {
    group: String,
    kind: String,
    name: String,
    section_name: Option<String>,
}

pub(super) fn backend_tls_policy(meta: Meta, mut data: Value) -> Result<BackendTlsPolicy, Fault> {
    let spec: WrittenSpec = required(&mut data, "spec")?;
    Ok(BackendTlsPolicy { meta, targets: spec.targets.into_iter().map(target).collect() })
}

fn target(written: WrittenTarget) -> PolicyTarget {
    PolicyTarget {
        kind: GroupKind { group: written.group, kind: written.kind },
        name: written.name,
        section: written.section_name.filter(|section| !section.is_empty()),
    }
}

/// The targets of a policy that may not be readable otherwise; those that are not readable are left out.
pub(super) fn readable_targets(kind: Kind, data: &Value) -> Vec<PolicyTarget> {
    let list = (kind == Kind::BackendTlsPolicy).then(|| data.pointer("/spec/targetRefs")).flatten();
    let written = list.and_then(Value::as_array).into_iter().flatten();
    written.filter_map(|one| serde_json::from_value(one.clone()).ok()).map(target).collect()
}
