//! Definitions of custom resources: ours and those of the Multi-Cluster Services API are installed where
//! they are missing and kept up to date, never over newer or other people's ones; those of Gateway API are
//! the user's, and only looked at.

use isthmus_crds::{Definition, definitions};
use kube::core::DynamicObject;

use crate::{
    object::{self, Manifest, ObjectKey},
    observed::Observed,
};

/// The annotation with the version of Isthmus that a definition is from.
pub const VERSION: &str = "isthmus.dev/version";

/// The definitions as the operator of this version installs them.
pub fn manifests(version: &str) -> Vec<Manifest> {
    let manifest = |definition: Definition| {
        let mut crd = definition.crd;
        crd.metadata.labels = Some(object::labels("definitions"));
        let annotations = crd.metadata.annotations.get_or_insert_default();
        annotations.insert(VERSION.to_owned(), version.to_owned());
        Manifest::new(object::DEFINITION, &crd)
    };
    definitions().into_iter().map(manifest).collect()
}

/// Those of them that are the operator's to write.
pub fn wanted(observed: &Observed) -> impl Iterator<Item = &Manifest> {
    let version = &observed.place.version;
    observed.definitions.iter().filter(move |manifest| {
        let ours = |found| is_ours_to_update(found, version);
        observed.knows(manifest.key.kind) && observed.object(&manifest.key).is_none_or(ours)
    })
}

/// Whether the operator made this definition, and not a newer one than `version`. Those of a chart are
/// the chart's to update, and those of others are theirs.
fn is_ours_to_update(found: &DynamicObject, version: &str) -> bool {
    let (key, value) = object::OURS;
    let ours =
        found.metadata.labels.as_ref().and_then(|labels| labels.get(key)).is_some_and(|v| v == value);
    ours && annotation(found, VERSION).is_none_or(|there| !is_newer(there, version))
}

/// The first definition of ours that is older than this operator and that is not its to update: it lacks
/// fields, and what is written of them is refused (case F11). A sentence says what to do.
pub fn outdated(observed: &Observed) -> Option<String> {
    let version = &observed.place.version;
    let older = |manifest: &&Manifest| {
        let found = observed.object(&manifest.key)?;
        let there = annotation(found, VERSION).filter(|there| is_newer(version, there))?;
        let foreign = !is_ours_to_update(found, version);
        foreign.then(|| (manifest.key.clone(), there.to_owned()))
    };
    let (key, there) = observed.definitions.iter().find_map(|manifest| older(&manifest))?;
    Some(format!(
        "{key} is of version {there}, this operator of {version}: `helm upgrade isthmus-crds`, or apply the \
         definitions of {version}"
    ))
}

fn annotation<'a>(object: &'a DynamicObject, name: &str) -> Option<&'a str> {
    object.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

fn is_newer(one: &str, other: &str) -> bool {
    let numbers = |version: &str| -> Vec<u64> {
        let version = version.split(['-', '+']).next().unwrap_or_default();
        version.trim_start_matches('v').split('.').map(|part| part.parse().unwrap_or(0)).collect()
    };
    numbers(one) > numbers(other)
}

/// The definitions of Gateway API without which nothing works, and the version that is recommended.
const REQUIRED: [&str; 3] = ["gatewayclasses", "gateways", "httproutes"];

/// The command that helps when definitions of Gateway API are missing or too old.
pub const HELP: &str = "kubectl apply --server-side -f \
     https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.7.0/standard-install.yaml";

/// What is wrong with the definitions of Gateway API: a reason and a sentence.
pub fn gateway_api_problem(observed: &Observed) -> Option<(&'static str, String)> {
    let found = |plural: &str| {
        let name = format!("{plural}.gateway.networking.k8s.io");
        observed.object(&ObjectKey::new(object::DEFINITION, "", &name))
    };
    let missing = REQUIRED.iter().find(|plural| found(plural).is_none());
    if let Some(plural) = missing {
        let message = format!("the definition {plural}.gateway.networking.k8s.io is missing: `{HELP}`");
        return Some(("DefinitionsMissing", message));
    }
    REQUIRED.iter().find_map(|plural| {
        let version = annotation(found(plural)?, "gateway.networking.k8s.io/bundle-version");
        let supported = version.is_some_and(isthmus_gateway::class::is_supported);
        (!supported).then(|| {
            let version = version.unwrap_or("(none)");
            let message = format!(
                "the definition {plural}.gateway.networking.k8s.io has version {version}; supported are \
                 v1.3 to v1.7: `{HELP}`"
            );
            ("UnsupportedVersion", message)
        })
    })
}

/// Version and channel of the definitions of Gateway API, such as `v1.7.0 (standard)`.
pub fn gateway_api_version(observed: &Observed) -> Option<String> {
    let key = ObjectKey::new(object::DEFINITION, "", "gateways.gateway.networking.k8s.io");
    let found = observed.object(&key)?;
    let of = |name: &str| annotation(found, &format!("gateway.networking.k8s.io/{name}"));
    Some(format!("{} ({})", of("bundle-version")?, of("channel").unwrap_or("unknown channel")))
}
