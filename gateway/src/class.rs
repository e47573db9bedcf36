//! GatewayClass -> whether its Gateways are served.

use isthmus_world::fact::GatewayClass;

use crate::{
    CONTROLLER, Condition,
    definitions::{Installed, SUPPORTED},
    parameters::{self, Known},
};

/// Where the definitions of Gateway API's kinds come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Definitions {
    /// Built in: objects come from a directory.
    BuiltIn,
    /// From an API server, which has these.
    Installed(Installed),
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
    let mut features = FEATURES.to_vec();
    if let Definitions::Installed(installed) = definitions {
        features.extend(IN_CLUSTERS);
        features.retain(|feature| !installed.lacks(feature));
    }
    features.sort_unstable();
    features
}

fn supported_version(definitions: &Definitions) -> Condition {
    let fault = match definitions {
        Definitions::BuiltIn => None,
        Definitions::Installed(installed) => installed.fault(),
    };
    match fault {
        None => {
            let message = format!("Gateway API {SUPPORTED}");
            Condition::is("SupportedVersion", "SupportedVersion", message)
        }
        Some(fault) => Condition::not("SupportedVersion", "UnsupportedVersion", fault.to_string()),
    }
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
