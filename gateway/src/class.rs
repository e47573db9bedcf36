//! GatewayClass -> whether its Gateways are served.

use isthmus_world::fact::GatewayClass;

use crate::{
    CONTROLLER, Condition,
    parameters::{self, Known},
};

/// Where the definitions of Gateway API's kinds come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Definitions {
    /// Built in: objects come from a directory.
    BuiltIn,
    /// From an API server: the annotation `gateway.networking.k8s.io/bundle-version` of each of its
    /// Gateway API CRDs, none where it is missing.
    Installed(Vec<Option<String>>),
}

/// What follows from a GatewayClass of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClassOutput {
    /// Whether its Gateways are served.
    pub accepted: bool,
    /// `Accepted` and `SupportedVersion`.
    pub conditions: Vec<Condition>,
    /// `supportedFeatures`, sorted.
    pub features: Vec<&'static str>,
}

/// Decides over `class`, whose parameters are these; none when it is another controller's.
pub fn translate(
    class: &GatewayClass,
    parameters: &Known,
    definitions: &Definitions,
) -> Option<ClassOutput> {
    if class.controller != CONTROLLER {
        return None;
    }
    let accepted = match parameters::fault_of_class(class, parameters) {
        Some(why) => Condition::not("Accepted", "InvalidParameters", why),
        None => Condition::is("Accepted", "Accepted", "Gateways of this class are served"),
    };
    Some(ClassOutput {
        accepted: accepted.holds(),
        conditions: vec![accepted, supported_version(definitions)],
        features: features(definitions),
    })
}

fn features(definitions: &Definitions) -> Vec<&'static str> {
    let more: &[&str] = match definitions {
        Definitions::BuiltIn => &[],
        Definitions::Installed(_) => IN_CLUSTERS,
    };
    let mut features: Vec<_> = FEATURES.iter().chain(more).copied().collect();
    features.sort_unstable();
    features
}

fn supported_version(definitions: &Definitions) -> Condition {
    let unknown = match definitions {
        Definitions::BuiltIn => None,
        Definitions::Installed(versions) => {
            versions.iter().find(|v| !v.as_deref().is_some_and(is_supported))
        }
    };
    match unknown {
        None => Condition::is("SupportedVersion", "SupportedVersion", "Gateway API v1.3 to v1.7"),
        Some(version) => Condition::not(
            "SupportedVersion",
            "UnsupportedVersion",
            format!(
                "a Gateway API CRD has bundle version {}; supported are v1.3 to v1.7: install v1.7.0",
                version.as_deref().unwrap_or("(none)")
            ),
        ),
    }
}

/// Whether definitions of this bundle version are those that this controller reads.
pub fn is_supported(version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split('.');
    let major = parts.next();
    let minor = parts.next().and_then(|m| m.parse::<u32>().ok());
    major == Some("1") && minor.is_some_and(|m| (3..=7).contains(&m))
}

/// What works where Gateways have objects of their own that run them.
const IN_CLUSTERS: &[&str] = &["GatewayInfrastructure"];

/// `status.supportedFeatures`: only what works, wherever Gateways are.
pub const FEATURES: &[&str] = &[
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayPort8080",
    "GatewayRouteHostnameIntersectionPrecedence",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteBackendURLRewrite",
    "HTTPRouteCORS",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteRetryCodes",
    "HTTPRouteRetryConnectionError",
    "HTTPRouteSchemeRedirect",
    "ReferenceGrant",
];
