//! Which kinds are read from files, and what identifies an object of one.

use std::{fmt, sync::LazyLock};

use isthmus_crds::Definition;
use isthmus_world::Kind;
use serde::Serialize;

/// A kind that is read.
#[derive(Clone, Copy, Debug)]
pub enum FileKind {
    /// One that the World knows, whose rules are written in `gateway`.
    World(Kind),
    /// One of ours, whose rules are in its schema.
    Own(&'static Definition),
}

/// Kinds with a schema of ours.
static OWN: LazyLock<Vec<Definition>> = LazyLock::new(isthmus_crds::definitions);

impl FileKind {
    /// The kind of that group and name, when it is read.
    pub fn of(group: &str, kind: &str) -> Option<Self> {
        let own = OWN.iter().find(|d| d.resource.group == group && d.resource.kind == kind);
        own.map(Self::Own).or_else(|| Kind::of(group, kind).map(Self::World))
    }

    /// Every kind that is read.
    pub fn all() -> impl Iterator<Item = Self> {
        let world = Kind::ALL.into_iter().filter(|kind| !is_own(kind.group(), kind.as_str()));
        OWN.iter().map(Self::Own).chain(world.map(Self::World))
    }

    /// The group; empty for the core group.
    pub fn group(self) -> &'static str {
        match self {
            Self::World(kind) => kind.group(),
            Self::Own(definition) => &definition.resource.group,
        }
    }

    /// The kind as Kubernetes writes it.
    pub fn kind(self) -> &'static str {
        match self {
            Self::World(kind) => kind.as_str(),
            Self::Own(definition) => &definition.resource.kind,
        }
    }

    /// The name that stands for its objects on a command line.
    pub fn plural(self) -> String {
        match self {
            Self::World(kind) => {
                let lower = kind.as_str().to_ascii_lowercase();
                match lower.strip_suffix("cy") {
                    Some(stem) => format!("{stem}cies"),
                    None if lower.ends_with('s') => lower + "es",
                    None => lower + "s",
                }
            }
            Self::Own(definition) => definition.resource.plural.clone(),
        }
    }

    /// Shorter names for its objects on a command line.
    pub fn short_names(self) -> Vec<&'static str> {
        match self {
            Self::World(Kind::GatewayClass) => vec!["gc"],
            Self::World(Kind::Gateway) => vec!["gtw"],
            Self::World(Kind::ReferenceGrant) => vec!["refgrant"],
            Self::World(Kind::BackendTlsPolicy) => vec!["btlspolicy"],
            Self::World(Kind::Namespace) => vec!["ns"],
            Self::World(Kind::Service) => vec!["svc"],
            Self::World(_) => Vec::new(),
            Self::Own(definition) => {
                let names = definition.crd.spec.names.short_names.iter().flatten();
                names.map(String::as_str).collect()
            }
        }
    }

    /// The kind that a command line means: its plural, singular or short name in any case, with or
    /// without its group behind a dot.
    pub fn named(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let (name, group) = lower.split_once('.').map_or((lower.as_str(), None), |(n, g)| (n, Some(g)));
        let fits = |kind: &Self| {
            let named = name == kind.plural()
                || name == kind.kind().to_ascii_lowercase()
                || kind.short_names().contains(&name);
            named && group.is_none_or(|group| group == kind.group())
        };
        Self::all().find(fits)
    }

    /// The versions that are read, the preferred one first.
    pub fn versions(self) -> Vec<&'static str> {
        match self {
            Self::World(kind) => kind.versions().to_vec(),
            Self::Own(definition) => match Kind::of(self.group(), self.kind()) {
                Some(kind) => kind.versions().to_vec(),
                None => vec![&definition.resource.version],
            },
        }
    }

    /// Whether its objects belong to no namespace.
    pub fn cluster_scoped(self) -> bool {
        match self {
            Self::World(kind) => kind.cluster_scoped(),
            Self::Own(definition) => !definition.namespaced,
        }
    }

    /// Whether its objects hold what must not be shown.
    pub fn secret(self) -> bool {
        matches!(self, Self::World(Kind::Secret))
    }
}

fn is_own(group: &str, kind: &str) -> bool {
    OWN.iter().any(|d| d.resource.group == group && d.resource.kind == kind)
}

/// What identifies an object, whatever the version that it is written in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, serde::Deserialize)]
pub struct ObjectId {
    /// The group; empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace; empty for cluster-scoped kinds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FileKind;

    #[test]
    fn kinds_are_known_by_every_name_that_kubectl_takes() {
        let named = |text: &str| FileKind::named(text).map(FileKind::kind);
        for text in ["gateways", "gateway", "Gateway", "gtw", "gateways.gateway.networking.k8s.io"] {
            assert_eq!(named(text), Some("Gateway"), "{text}");
        }
        for text in ["gatewayclasses", "gc"] {
            assert_eq!(named(text), Some("GatewayClass"), "{text}");
        }
        for text in ["backendtlspolicies", "btlspolicy"] {
            assert_eq!(named(text), Some("BackendTLSPolicy"), "{text}");
        }
        for text in ["svcex", "serviceexport", "ServiceExports"] {
            assert_eq!(named(text), Some("ServiceExport"), "{text}");
        }
        assert_eq!(named("ns"), Some("Namespace"));
        assert_eq!(named("endpointslices"), Some("EndpointSlice"));
        assert_eq!(named("gateways.example.com"), None);
        assert_eq!(named("pods"), None);
    }
}
