//! What is done with a request that a rule wins, compiled from the rule when it changes.
//!
//! Everything that can be checked is checked here; a rule that says something that cannot be carried out
//! is refused, alone, with the reason. A feature that a rule does not use costs an empty list.

use std::{sync::Arc, time::Duration};

use isthmus_ir::{
    self as ir, BackendTarget, Filter, Fraction, HeaderEdits, Name, PathRewrite, Redirect, Rewrite,
    Route, Timeouts, matcher::rewrite, normalize,
};

use crate::{
    cors::Cors,
    http1::{FieldName, Known},
    metrics::Metrics,
};

/// A compiled rule.
pub(crate) struct Plan {
    /// The rule's resource name.
    pub(crate) name: Name,
    /// Its slot in the metrics.
    pub(crate) slot: u32,
    pub(crate) action: Action,
    pub(crate) request: Box<[Edit]>,
    pub(crate) response: Box<[Edit]>,
    pub(crate) rewrite: Option<Box<Rewrite>>,
    pub(crate) cors: Option<Box<Cors>>,
    pub(crate) mirrors: Box<[Mirror]>,
    pub(crate) backends: Box<[Backend]>,
    /// The sum of the backends' weights.
    pub(crate) weight: u64,
    pub(crate) timeouts: Timeouts,
    /// Attempts after the first.
    pub(crate) retries: u8,
    /// Statuses of a backend that are tried again.
    pub(crate) retry_statuses: Box<[u16]>,
    /// Milliseconds before the second attempt.
    pub(crate) backoff: Option<u64>,
    /// Whether the rule itself asks for attempts.
    pub(crate) explicit: bool,
}

/// What becomes of the request.
pub(crate) enum Action {
    /// It goes to a backend.
    Forward,
    /// It is answered with a redirect.
    Redirect(Box<Redirect>),
    /// There is nothing to forward it to: 500.
    Nowhere,
}

/// A weighted destination.
pub(crate) struct Backend {
    pub(crate) weight: u32,
    /// The slot of the service; none when the reference could not be resolved: 500.
    pub(crate) service: Option<u32>,
    /// Only this endpoint of the service.
    pub(crate) endpoint: Option<Arc<str>>,
    pub(crate) request: Box<[Edit]>,
    pub(crate) response: Box<[Edit]>,
    pub(crate) rewrite: Option<Box<Rewrite>>,
    pub(crate) mirrors: Box<[Mirror]>,
}

/// A copy of requests.
pub(crate) struct Mirror {
    pub(crate) service: u32,
    pub(crate) fraction: Fraction,
}

/// One edit of a header.
pub(crate) struct Edit {
    pub(crate) kind: EditKind,
    pub(crate) name: Box<[u8]>,
    pub(crate) value: Box<[u8]>,
}

/// What an edit does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EditKind {
    /// Replaces every field of the name.
    Set,
    /// Adds a field.
    Add,
    /// Removes every field of the name.
    Remove,
}

#[derive(Default)]
struct Filters {
    request: Vec<Edit>,
    response: Vec<Edit>,
    rewrite: Option<Box<Rewrite>>,
    redirect: Option<Box<Redirect>>,
    cors: Option<Box<Cors>>,
    mirrors: Vec<Mirror>,
}

impl Plan {
    /// The plan of `route`.
    ///
    /// # Errors
    /// When the rule asks for something that cannot be done: the reason, for its author.
    pub(crate) fn compile(route: &Arc<Route>, metrics: &Metrics) -> Result<Self, String> {
        let filters = Filters::compile(&route.filters, metrics)?;
        let backends: Box<[Backend]> = route
            .backends
            .iter()
            .map(|backend| Backend::compile(backend, metrics))
            .collect::<Result<_, _>>()?;
        let weight = backends.iter().map(|b| u64::from(b.weight)).sum();
        let action = match filters.redirect {
            Some(redirect) => Action::Redirect(redirect),
            None if weight == 0 => Action::Nowhere,
            None => Action::Forward,
        };
        Ok(Self {
            name: route.name.clone(),
            slot: metrics.routes.slot(route.name.as_str()),
            action,
            request: filters.request.into(),
            response: filters.response.into(),
            rewrite: filters.rewrite,
            cors: filters.cors,
            mirrors: filters.mirrors.into(),
            backends,
            weight,
            timeouts: route.timeouts,
            retries: route.retry.attempts,
            retry_statuses: route.retry.statuses.clone().into(),
            backoff: route.retry.backoff.map(milliseconds),
            explicit: route.retry.explicit,
        })
    }

    /// The plan of what comes from a peer for one endpoint, or for any of a service: there are no routes,
    /// and the caller's proxy is the one that tries again.
    pub(crate) fn of_handle(service: &Name, endpoint: Option<Arc<str>>, metrics: &Metrics) -> Self {
        let name: Name = format!("handle/{}", service.as_str()).into();
        let backend = Backend {
            weight: 1,
            service: Some(metrics.services.slot(service.as_str())),
            endpoint,
            request: Box::default(),
            response: Box::default(),
            rewrite: None,
            mirrors: Box::default(),
        };
        Self {
            slot: metrics.routes.slot(name.as_str()),
            name,
            action: Action::Forward,
            request: Box::default(),
            response: Box::default(),
            rewrite: None,
            cors: None,
            mirrors: Box::default(),
            backends: Box::new([backend]),
            weight: 1,
            timeouts: Timeouts::default(),
            retries: 0,
            retry_statuses: Box::default(),
            backoff: None,
            explicit: false,
        }
    }

    /// The limit of the whole request, in milliseconds.
    pub(crate) fn request_timeout(&self) -> Option<u64> {
        self.timeouts.request.map(milliseconds)
    }

    /// The limit of one attempt, in milliseconds.
    pub(crate) fn attempt_timeout(&self) -> Option<u64> {
        self.timeouts.backend_request.map(milliseconds)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

impl Backend {
    fn compile(backend: &ir::Backend, metrics: &Metrics) -> Result<Self, String> {
        let filters = Filters::compile(&backend.filters, metrics)?;
        if filters.redirect.is_some() || filters.cors.is_some() {
            return Err("a backend cannot redirect, nor answer preflights".to_owned());
        }
        Ok(Self {
            weight: backend.weight,
            service: match &backend.target {
                BackendTarget::Service(name) => Some(metrics.services.slot(name.as_str())),
                BackendTarget::Invalid { .. } => None,
            },
            endpoint: None,
            request: filters.request.into(),
            response: filters.response.into(),
            rewrite: filters.rewrite,
            mirrors: filters.mirrors.into(),
        })
    }
}

impl Filters {
    fn compile(filters: &[Filter], metrics: &Metrics) -> Result<Self, String> {
        let mut all = Self::default();
        for filter in filters {
            match filter {
                Filter::RequestHeaders(edits) => edit_list(edits, &mut all.request)?,
                Filter::ResponseHeaders(edits) => edit_list(edits, &mut all.response)?,
                Filter::Redirect(redirect) => {
                    all.redirect = Some(Box::new(checked_redirect(redirect)?));
                }
                Filter::Cors(cors) => all.cors = Some(Box::new(Cors::compile(cors)?)),
                Filter::Rewrite(rewrite) => all.rewrite = Some(Box::new(checked_rewrite(rewrite)?)),
                Filter::Mirror { target, fraction } => {
                    // A mirror that could not be resolved mirrors nothing; its route's status says so.
                    if let BackendTarget::Service(name) = target {
                        let service = metrics.services.slot(name.as_str());
                        all.mirrors.push(Mirror { service, fraction: *fraction });
                    }
                }
            }
        }
        Ok(all)
    }
}

fn edit_list(edits: &HeaderEdits, list: &mut Vec<Edit>) -> Result<(), String> {
    for (name, value) in &edits.set {
        list.push(edit(EditKind::Set, name, value)?);
    }
    for (name, value) in &edits.add {
        list.push(edit(EditKind::Add, name, value)?);
    }
    for name in &edits.remove {
        list.push(edit(EditKind::Remove, name, "")?);
    }
    Ok(())
}

/// Fields that frame a message or belong to one connection are the codec's (cases.md A14).
fn edit(kind: EditKind, name: &str, value: &str) -> Result<Edit, String> {
    let field = FieldName::new(name.as_bytes()).ok_or_else(|| format!("{name:?} is no field name"))?;
    let framing = matches!(field.known(), Known::ContentLength | Known::Trailer);
    if field.known().is_hop_by_hop() || framing {
        return Err(format!("the field {name:?} belongs to the connection and cannot be edited"));
    }
    if value.bytes().any(|b| (b < 0x20 && b != b'\t') || b == 0x7f) {
        return Err(format!("the value of {name:?} holds a control character"));
    }
    Ok(Edit { kind, name: name.as_bytes().into(), value: value.trim_ascii().as_bytes().into() })
}

fn checked_redirect(redirect: &Redirect) -> Result<Redirect, String> {
    if !(300..400).contains(&redirect.status) {
        return Err(format!("{} is no status of a redirect", redirect.status));
    }
    let scheme = redirect.scheme.as_deref();
    if !matches!(scheme, None | Some("http" | "https")) {
        return Err("the scheme of a redirect is http or https".to_owned());
    }
    Ok(Redirect {
        hostname: redirect.hostname.as_deref().map(checked_host).transpose()?,
        path: redirect.path.as_ref().map(checked_path).transpose()?,
        ..redirect.clone()
    })
}

fn checked_rewrite(rewrite: &Rewrite) -> Result<Rewrite, String> {
    Ok(Rewrite {
        hostname: rewrite.hostname.as_deref().map(checked_host).transpose()?,
        path: rewrite.path.as_ref().map(checked_path).transpose()?,
    })
}

fn checked_host(host: &str) -> Result<String, String> {
    match normalize::authority(host.as_bytes()) {
        Ok(authority) if authority.port.is_none() => Ok(authority.host.into_owned()),
        Ok(_) => Err(format!("the hostname {host:?} has a port")),
        Err(error) => Err(format!("{host:?} is no hostname: {error}")),
    }
}

fn checked_path(path: &PathRewrite) -> Result<PathRewrite, String> {
    let (PathRewrite::Full(text) | PathRewrite::Prefix(text)) = path;
    rewrite::check(path).map_err(|error| format!("{text:?}: {error}"))?;
    Ok(path.clone())
}

#[cfg(test)]
mod tests {
    use isthmus_ir::{HeaderEdits, PathRewrite};

    use super::{checked_path, edit_list};

    #[test]
    fn b4_a_path_that_has_no_normal_form_is_refused() {
        for bad in ["/a/../../b", "/a%2fb", "/a?b"] {
            assert!(checked_path(&PathRewrite::Full(bad.to_owned())).is_err(), "{bad}");
        }
    }

    #[test]
    fn a14_edits_that_would_split_or_frame_a_message_are_refused() {
        let set = |name: &str, value: &str| {
            let edits = HeaderEdits { set: vec![(name.into(), value.into())], ..HeaderEdits::default() };
            edit_list(&edits, &mut Vec::new())
        };
        assert!(set("x-a", "b").is_ok());
        for (name, value) in [
            ("x-a", "b\r\nx: y"),
            ("x-a", "b\0"),
            ("x a", "b"),
            ("content-length", "0"),
            ("transfer-encoding", "chunked"),
            ("connection", "x-a"),
        ] {
            assert!(set(name, value).is_err(), "{name}: {value:?}");
        }
    }
}
