//! What an API server has of the definitions of Gateway API -> whether its objects are those that are read
//! here (case F12).
//!
//! The definitions are the user's to install: here stands which ones are needed, for the control plane and
//! the operator alike, and what helps.

use crate::GROUP;

/// The annotation by which a definition says which release it is of.
pub const BUNDLE_VERSION: &str = "gateway.networking.k8s.io/bundle-version";

/// What helps where definitions are missing, or of a release that is not read.
pub const INSTALL: &str = "kubectl apply --server-side -f \
     https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.7.0/standard-install.yaml";

/// The releases that are read.
pub const SUPPORTED: &str = "v1.3 to v1.7";

/// The kinds whose definitions are needed, by the plural in the name of the definition.
const NEEDED: [(&str, &str); 4] = [
    ("gatewayclasses", "GatewayClass"),
    ("gateways", "Gateway"),
    ("httproutes", "HTTPRoute"),
    ("referencegrants", "ReferenceGrant"),
];

/// The names of the definitions that are needed.
pub fn names() -> impl Iterator<Item = String> {
    NEEDED.into_iter().map(|(plural, _)| format!("{plural}.{GROUP}"))
}

/// What is there of a definition that is needed.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Definition {
    /// Nothing.
    Missing,
    /// The definition, of this release; none when it does not say.
    Of(Option<String>),
}

/// What an API server has of the definitions that are needed: the name and the kind of each, and what is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Installed(Vec<(String, &'static str, Definition)>);

/// The first thing that is wrong with the definitions. The text is fit for a condition.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// One is missing.
    #[error("the definition {0} is missing: `{INSTALL}`")]
    Missing(String),
    /// One is of a release that is not read.
    #[error("the definition {name} has version {version}; supported are {SUPPORTED}: `{INSTALL}`")]
    Unsupported {
        /// Its name.
        name: String,
        /// What it says of its release.
        version: String,
    },
}

impl Installed {
    /// `of` says of the name of a definition which release it is of: none when it is not there, and none
    /// within when it does not say.
    pub fn new(of: impl Fn(&str) -> Option<Option<String>>) -> Self {
        let found = |(name, (_, kind)): (String, _)| {
            let found = of(&name).map_or(Definition::Missing, Definition::Of);
            (name, kind, found)
        };
        Self(names().zip(NEEDED).map(found).collect())
    }

    /// What is wrong; what is missing comes first.
    pub fn fault(&self) -> Option<Fault> {
        let missing = self.0.iter().find(|(_, _, found)| *found == Definition::Missing);
        if let Some((name, ..)) = missing {
            return Some(Fault::Missing(name.clone()));
        }
        self.0.iter().find_map(|(name, _, found)| match found {
            Definition::Missing => None,
            Definition::Of(Some(version)) if is_supported(version) => None,
            Definition::Of(version) => Some(Fault::Unsupported {
                name: name.clone(),
                version: version.clone().unwrap_or_else(|| "(none)".to_owned()),
            }),
        })
    }

    /// Whether a feature is about a kind that is not there.
    pub(crate) fn lacks(&self, feature: &str) -> bool {
        let missing = self.0.iter().filter(|(_, _, found)| *found == Definition::Missing);
        missing.map(|(_, kind, _)| kind).any(|kind| feature.starts_with(kind))
    }
}

fn is_supported(version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split('.');
    let major = parts.next();
    let minor = parts.next().and_then(|m| m.parse::<u32>().ok());
    major == Some("1") && minor.is_some_and(|m| (3..=7).contains(&m))
}
