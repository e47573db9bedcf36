//! What a kind may be called on a command line.

use crate::files::kinds::FileKind;

/// A kind that can be asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KindName {
    /// The group; empty for the core group.
    pub group: String,
    /// The kind as Kubernetes writes it.
    pub kind: String,
    /// Lower case, as in `isthmus get gateways`.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Shorter names.
    pub short: Vec<String>,
}

/// Short names of kinds whose definitions are not ours.
const SHORT: &[(&str, &str)] = &[
    ("GatewayClass", "gc"),
    ("Gateway", "gtw"),
    ("ReferenceGrant", "refgrant"),
    ("BackendTLSPolicy", "btlspolicy"),
    ("Namespace", "ns"),
    ("Service", "svc"),
];

/// Every kind whose objects an instance holds.
pub fn all() -> impl Iterator<Item = KindName> {
    FileKind::all().map(|kind| KindName {
        group: kind.group().to_owned(),
        kind: kind.kind().to_owned(),
        plural: kind.plural(),
        namespaced: !kind.cluster_scoped(),
        short: short(kind),
    })
}

fn short(kind: FileKind) -> Vec<String> {
    match kind {
        FileKind::Own(definition) => definition.crd.spec.names.short_names.clone().unwrap_or_default(),
        FileKind::World(kind) => {
            let own = SHORT.iter().filter(|(of, _)| *of == kind.as_str());
            own.map(|(_, short)| (*short).to_owned()).collect()
        }
    }
}

/// The kind that `text` stands for: a kind, plural, singular or short name, in any case, with or without
/// `.group` behind it.
pub fn resolve(text: &str) -> Option<KindName> {
    let text = text.to_ascii_lowercase();
    let (name, group) = text.split_once('.').map_or((&*text, None), |(name, group)| (name, Some(group)));
    all().find(|kind| {
        group.is_none_or(|group| kind.group == group)
            && (kind.plural == name
                || kind.kind.to_ascii_lowercase() == name
                || kind.short.iter().any(|short| short == name))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{KindName, all, resolve};

    #[test]
    fn kinds_go_by_several_names() {
        let kind = |text| resolve(text).map(|kind| kind.kind);
        for text in ["Gateway", "gateways", "gtw", "gateways.gateway.networking.k8s.io"] {
            assert_eq!(kind(text).as_deref(), Some("Gateway"), "{text}");
        }
        assert_eq!(kind("svcim").as_deref(), Some("ServiceImport"));
        assert_eq!(kind("gatewayclasses").as_deref(), Some("GatewayClass"));
        assert_eq!(kind("ns").as_deref(), Some("Namespace"));
        assert_eq!(kind("deployments"), None);
        assert_eq!(kind("gateways.apps"), None);
    }

    #[test]
    fn no_name_stands_for_two_kinds() {
        // Of some kinds singular and plural are one word.
        let of = |kind: KindName| {
            let names = [vec![kind.plural, kind.kind.to_ascii_lowercase()], kind.short].concat();
            names.into_iter().collect::<BTreeSet<_>>()
        };
        let mut names: Vec<String> = all().flat_map(of).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
