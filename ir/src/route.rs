//! One rule of one route: what it matches and what is done with a request that it wins.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{HostPattern, Name, ObjectRef};

/// One rule of a route; the grain of the wire, so that an edit of one rule moves one resource.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Route {
    /// `<kind>/<namespace>/<name>/<rule index>`.
    pub name: Name,
    /// The route that the rule belongs to.
    pub route: RouteId,
    /// The rule's index in its route; rules of a route change together.
    pub rule: u32,
    /// The rule's own name, when it has one.
    pub rule_name: Option<String>,
    /// `metadata.creationTimestamp` in seconds since 1970: the older route wins a tie.
    pub created: i64,
    /// Listeners that it is attached to, with the hosts that it serves there.
    pub attachments: Vec<Attachment>,
    /// A request is matched when one of these is; never empty.
    pub matches: Vec<RouteMatch>,
    /// In the order of the rule.
    pub filters: Vec<Filter>,
    /// Where requests go, by weight. Empty together with no redirect: 500.
    pub backends: Vec<Backend>,
    /// Limits of time.
    pub timeouts: Timeouts,
    /// What is tried again.
    pub retry: RetryPolicy,
}

impl Route {
    /// The resource name of rule `rule` of `route`.
    pub fn name(route: &RouteId, rule: u32) -> Name {
        format!("{}/{}/{rule}", route.kind.as_str(), route.object).into()
    }
}

/// What a rule is of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RouteId {
    /// Its kind.
    pub kind: RouteKind,
    /// Its namespace and name.
    pub object: ObjectRef,
}

/// The kind of a route.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum RouteKind {
    /// `HTTPRoute`.
    Http,
    /// A derived `ServiceImport`, which is reached by its clusterset name: the index of a rule is the port.
    Import,
}

impl RouteKind {
    /// The kind as Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTPRoute",
            Self::Import => "ServiceImport",
        }
    }
}

/// A listener that a rule is attached to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attachment {
    /// The name of the [`Listener`](crate::Listener).
    pub listener: Name,
    /// Those of the route's hostnames that intersect the listener's, as the route declares them;
    /// [`HostPattern::Any`] when it declares none; never empty. They are not the intersections: routes
    /// whose intersections are equal compare by what they declare (Gateway API,
    /// `GatewayRouteHostnameIntersectionPrecedence`), and the listener's own hostname is asked apart.
    pub hostnames: Vec<HostPattern>,
}

/// Conditions that must all hold (Gateway API `HTTPRouteMatch`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RouteMatch {
    /// Of the normalised path.
    pub path: PathMatch,
    /// Of the method, in upper case; none means any.
    pub method: Option<String>,
    /// Of header fields; names are lower case and distinct.
    pub headers: Vec<HeaderMatch>,
    /// Of query parameters; names are distinct.
    pub query: Vec<QueryMatch>,
}

/// A condition on the path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// Whole elements from the front; without trailing slash, except for `/` itself.
    Prefix(String),
    /// A regular expression over the whole path.
    Regex(String),
}

/// A condition on a value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ValueMatch {
    /// The whole value, byte for byte.
    Exact(String),
    /// A regular expression over the whole value.
    Regex(String),
}

/// A condition on a header field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeaderMatch {
    /// The field's name in lower case.
    pub name: String,
    /// Its value; a field that occurs several times is matched as its values joined by commas.
    pub value: ValueMatch,
}

/// A condition on a query parameter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QueryMatch {
    /// The parameter's name.
    pub name: String,
    /// The first value of that name.
    pub value: ValueMatch,
}

/// What is done to a request or its response on the way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Filter {
    /// `RequestHeaderModifier`.
    RequestHeaders(HeaderEdits),
    /// `ResponseHeaderModifier`.
    ResponseHeaders(HeaderEdits),
    /// `RequestRedirect`: answered here; the rule's backends are not used.
    Redirect(Redirect),
    /// `URLRewrite`.
    Rewrite(Rewrite),
    /// `CORS`: preflights are answered here, and answers say who may read them.
    Cors(Cors),
    /// `RequestMirror`: a copy whose answer is thrown away.
    Mirror {
        /// Where the copy goes.
        target: BackendTarget,
        /// The share of requests that are copied.
        fraction: Fraction,
    },
}

/// Edits of header fields, applied in this order; names are lower case.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct HeaderEdits {
    /// Replaces every field of the name.
    pub set: Vec<(String, String)>,
    /// Adds a field beside those that are there.
    pub add: Vec<(String, String)>,
    /// Removes every field of the name.
    pub remove: Vec<String>,
}

/// A redirect; what is not given is taken from the request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// The host of `Location`.
    pub hostname: Option<String>,
    /// The path of `Location`.
    pub path: Option<PathRewrite>,
    /// The port of `Location`.
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// A rewrite of what the backend sees.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rewrite {
    /// The new host.
    pub hostname: Option<String>,
    /// The new path.
    pub path: Option<PathRewrite>,
}

/// Who may read answers from a page of another origin (Gateway API `HTTPCORSFilter`, Fetch).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cors {
    /// `scheme://host` or `scheme://host:port`, whose host may begin with `*` for any front; or `*` alone.
    pub origins: Vec<String>,
    /// Whether credentials may come along.
    pub credentials: bool,
    /// Methods in upper case, or `*` alone.
    pub methods: Vec<String>,
    /// Names of request fields in lower case, or `*` alone.
    pub headers: Vec<String>,
    /// Names of answers' fields in lower case, or `*`.
    pub expose: Vec<String>,
    /// Seconds for which the answer to a preflight holds.
    pub max_age: u32,
}

/// A new path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PathRewrite {
    /// `ReplaceFullPath`.
    Full(String),
    /// `ReplacePrefixMatch`: of the prefix that the request was matched by.
    Prefix(String),
}

/// A share of requests: `numerator` in `denominator`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fraction {
    /// At most the denominator.
    pub numerator: u32,
    /// At least 1.
    pub denominator: u32,
}

/// A weighted destination.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Backend {
    /// Its share; 0 gets nothing.
    pub weight: u32,
    /// Where.
    pub target: BackendTarget,
    /// Filters of this backend alone, after the rule's.
    pub filters: Vec<Filter>,
}

/// What a reference to a backend led to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum BackendTarget {
    /// The [`Service`](crate::Service) resource.
    Service(Name),
    /// It could not be resolved: its share of requests gets 500 (Gateway API, `HTTPBackendRef`).
    Invalid {
        /// Why, for `explain`.
        reason: String,
    },
}

/// Limits of time (Gateway API `HTTPRouteTimeouts`, GEP-1742); none means no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Timeouts {
    /// For the whole of a client's request, all attempts included.
    pub request: Option<Duration>,
    /// For one attempt.
    pub backend_request: Option<Duration>,
}

/// What is tried again. An attempt that provably never reached the workload (refused, reset before the
/// request was sent, an unknown handle) is tried again for every method; one whose fate is unknown only
/// for idempotent methods (RFC 9110, section 9.2.2), and never when part of an answer was passed on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub attempts: u8,
    /// Answers of a backend that are tried again, for idempotent methods at least.
    pub statuses: Vec<u16>,
    /// Waited before the second attempt, twice as long before each later one, to ten times this.
    pub backoff: Option<Duration>,
    /// Whether the route's author asked for this. Then `statuses` count for every method, every attempt
    /// counts alike, and an endpoint is tried again when there is no other.
    pub explicit: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 2, statuses: Vec::new(), backoff: None, explicit: false }
    }
}
