//! Definitions of custom resources: ours and those of the Multi-Cluster Services API are installed where
//! they are missing and kept up to date, never over newer or other people's ones; those of Gateway API are
//! the user's, and only looked at.

use isthmus_crds::{Definition, definitions};
use isthmus_gateway::definitions::{BUNDLE_VERSION, Fault, Installed};
use kube::core::DynamicObject;
use semver::Version;

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

/// Whether `one` comes after `other` (Semantic Versioning 2.0.0, section 11). What is no version comes
/// before all that are.
fn is_newer(one: &str, other: &str) -> bool {
    let version = |text: &str| Version::parse(text.trim_start_matches('v')).ok();
    match (version(one), version(other)) {
        (Some(one), Some(other)) => one.cmp_precedence(&other).is_gt(),
        (one, _) => one.is_some(),
    }
}

/// What is wrong with the definitions of Gateway API: a reason and a sentence.
pub fn gateway_api_problem(observed: &Observed) -> Option<(&'static str, String)> {
    let installed = Installed::new(|name| {
        let found = observed.object(&ObjectKey::new(object::DEFINITION, "", name))?;
        Some(annotation(found, BUNDLE_VERSION).map(str::to_owned))
    });
    let fault = installed.fault()?;
    let reason = match fault {
        Fault::Missing(_) => "DefinitionsMissing",
        Fault::Unsupported { .. } => "UnsupportedVersion",
    };
    let text = fault.to_string();
    // The other channel's file would take away kinds that may be in use.
    let help = |text: String| text.replace("/standard-install.yaml", "/experimental-install.yaml");
    Some((reason, if is_experimental(observed) { help(text) } else { text }))
}

/// Whether definitions of Gateway API are there that are of its experimental channel.
fn is_experimental(observed: &Observed) -> bool {
    let mut channels =
        observed.of(object::DEFINITION).filter_map(|(_, found)| annotation(found, CHANNEL));
    channels.any(|channel| channel == "experimental")
}

/// The annotation by which a definition of Gateway API says which channel it is of.
const CHANNEL: &str = "gateway.networking.k8s.io/channel";

/// Version and channel of the definitions of Gateway API, such as `v1.7.0 (standard)`.
pub fn gateway_api_version(observed: &Observed) -> Option<String> {
    let key = ObjectKey::new(object::DEFINITION, "", "gateways.gateway.networking.k8s.io");
    let found = observed.object(&key)?;
    let channel = annotation(found, CHANNEL).unwrap_or("unknown channel");
    Some(format!("{} ({channel})", annotation(found, BUNDLE_VERSION)?))
}

#[cfg(test)]
mod tests {
    use super::is_newer;

    #[test]
    fn versions_are_compared_as_semantic_versions() {
        let ascending = ["dev", "0.1.9", "0.1.10", "0.2.0-rc.1", "0.2.0-rc.2", "0.2.0", "v0.10.0"];
        for (at, one) in ascending.iter().enumerate() {
            for (other_at, other) in ascending.iter().enumerate() {
                assert_eq!(is_newer(one, other), at > other_at, "{one} and {other}");
            }
        }
        assert!(!is_newer("0.2.0+b", "0.2.0+a"), "what it was built from says nothing");
    }
}
