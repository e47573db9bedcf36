//! One rule: whether it is valid, and what the IR says of it.

use isthmus_ir::{Backend, BackendTarget, RetryPolicy, Route, Timeouts};
use isthmus_world::fact::{HttpFilter, HttpRoute, HttpRule, RuleRetry, RuleTimeouts};

use super::{backends::Resolver, filters, matches};
use crate::attachment::RouteView;

/// Why a rule is not served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Invalid {
    /// A reason of the condition `Accepted`.
    pub(super) reason: &'static str,
    /// Names the field.
    pub(super) message: String,
}

impl Invalid {
    pub(super) fn value(message: String) -> Self {
        Self { reason: "UnsupportedValue", message }
    }

    pub(super) fn filters(message: String) -> Self {
        Self { reason: "IncompatibleFilters", message }
    }
}

/// Whether the rule at `index` is valid, whatever its references lead to; the first mistake if not.
pub(super) fn check(index: usize, rule: &HttpRule) -> Result<(), Invalid> {
    let field = format!("spec.rules[{index}]");
    if let Some(path) = rule.unsupported.first() {
        return Err(Invalid::value(format!("{field}.{path} is not supported: remove it")));
    }
    for (index, each) in rule.matches.iter().enumerate() {
        matches::check(&format!("{field}.matches[{index}]"), each)?;
    }
    filters::check(&format!("{field}.filters"), &rule.filters, &rule.matches)?;
    let redirects = rule.filters.iter().any(filters::is_redirect);
    if redirects && !rule.backends.is_empty() {
        let message = format!("{field} has both a RequestRedirect filter and backendRefs: remove one");
        return Err(Invalid::filters(message));
    }
    for (index, backend) in rule.backends.iter().enumerate() {
        let field = format!("{field}.backendRefs[{index}].filters");
        if backend.filters.iter().any(filters::is_redirect) {
            let message =
                format!("{field}: a RequestRedirect filter belongs to the rule: move it there");
            return Err(Invalid::value(message));
        }
        if backend.filters.iter().any(filters::is_cors) {
            let message = format!("{field}: a CORS filter belongs to the rule: move it there");
            return Err(Invalid::value(message));
        }
        filters::check(&field, &backend.filters, &rule.matches)?;
    }
    timeouts(&field, rule.timeouts)
}

fn timeouts(field: &str, timeouts: RuleTimeouts) -> Result<(), Invalid> {
    match (timeouts.request, timeouts.backend_request) {
        (Some(request), Some(backend)) if backend > request => {
            let message = format!("{field}.timeouts.backendRequest is longer than timeouts.request");
            Err(Invalid::value(message))
        }
        _ => Ok(()),
    }
}

/// The rule at `index` in the IR, attached to nothing yet.
pub(super) fn route(
    route: &HttpRoute,
    index: usize,
    rule: &HttpRule,
    resolver: &mut Resolver<'_>,
) -> Route {
    let id = route.id();
    let number = u32::try_from(index).unwrap_or(u32::MAX);
    let field = format!("spec.rules[{index}]");
    let filters = resolver.filters(&format!("{field}.filters"), &rule.filters);
    let backends = rule.backends.iter().enumerate().map(|(index, backend)| {
        let field = format!("{field}.backendRefs[{index}]");
        let target = resolver.target(&field, backend);
        match resolver.filters(&format!("{field}.filters"), &backend.filters) {
            Ok(filters) => Backend { weight: backend.weight, target, filters },
            Err(reason) => broken(backend.weight, reason),
        }
    });
    let backends = backends.collect();
    // A filter that is unknown must not be skipped: what it was to process is answered with an error.
    let (filters, backends) = match filters {
        Ok(filters) => (filters, backends),
        Err(reason) => (Vec::new(), vec![broken(1, reason)]),
    };
    Route {
        name: Route::name(&id, number),
        route: id,
        rule: number,
        rule_name: rule.name.clone(),
        created: route.meta.created,
        attachments: Vec::new(),
        matches: rule.matches.iter().map(matches::normal).collect(),
        filters,
        backends,
        timeouts: Timeouts {
            request: rule.timeouts.request,
            backend_request: rule.timeouts.backend_request,
        },
        retry: rule.retry.as_ref().map_or_else(RetryPolicy::default, retry),
    }
}

fn retry(asked: &RuleRetry) -> RetryPolicy {
    RetryPolicy {
        attempts: asked.attempts,
        statuses: asked.codes.clone(),
        backoff: asked.backoff,
        explicit: true,
    }
}

fn broken(weight: u32, reason: String) -> Backend {
    Backend { weight, target: BackendTarget::Invalid { reason }, filters: Vec::new() }
}

/// Filters that refer to something.
pub(super) fn mirrors(filters: &[HttpFilter]) -> impl Iterator<Item = &isthmus_world::fact::BackendRef> {
    filters.iter().filter_map(|f| match f {
        HttpFilter::Mirror { backend, .. } => Some(backend),
        _ => None,
    })
}
