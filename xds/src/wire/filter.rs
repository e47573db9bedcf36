//! [`Filter`] and [`Backend`] on the wire.

use isthmus_ir::{
    Backend, BackendTarget, Cors, Filter, Fraction, HeaderEdits, PathRewrite, Redirect, Rewrite,
};

use super::{
    Refusal,
    read::{check, each, number, set},
};
use crate::proto::proxy::{self, backend_target::Target, filter, path_rewrite::Path};

pub(super) fn encode(filter: &Filter) -> proxy::Filter {
    let filter = match filter {
        Filter::RequestHeaders(edits) => filter::Filter::RequestHeaders(write_edits(edits)),
        Filter::ResponseHeaders(edits) => filter::Filter::ResponseHeaders(write_edits(edits)),
        Filter::Redirect(redirect) => filter::Filter::Redirect(write_redirect(redirect)),
        Filter::Rewrite(Rewrite { hostname, path }) => filter::Filter::Rewrite(proxy::Rewrite {
            hostname: hostname.clone(),
            path: path.as_ref().map(write_path),
        }),
        Filter::Cors(cors) => filter::Filter::Cors(write_cors(cors)),
        Filter::Mirror { target, fraction: Fraction { numerator, denominator } } => {
            filter::Filter::Mirror(proxy::Mirror {
                target: Some(write_target(target)),
                numerator: *numerator,
                denominator: *denominator,
            })
        }
    };
    proxy::Filter { filter: Some(filter) }
}

fn write_edits(edits: &HeaderEdits) -> proxy::HeaderEdits {
    let HeaderEdits { set, add, remove } = edits;
    let headers = |list: &[(String, String)]| {
        let header = |(name, value): &(String, String)| proxy::Header {
            name: name.clone(),
            value: value.clone(),
        };
        list.iter().map(header).collect()
    };
    proxy::HeaderEdits { set: headers(set), add: headers(add), remove: remove.clone() }
}

fn write_redirect(redirect: &Redirect) -> proxy::Redirect {
    let Redirect { scheme, hostname, path, port, status } = redirect;
    proxy::Redirect {
        scheme: scheme.clone(),
        hostname: hostname.clone(),
        path: path.as_ref().map(write_path),
        port: port.map(u32::from),
        status: u32::from(*status),
    }
}

fn write_cors(cors: &Cors) -> proxy::Cors {
    let Cors { origins, credentials, methods, headers, expose, max_age } = cors;
    proxy::Cors {
        origins: origins.clone(),
        credentials: *credentials,
        methods: methods.clone(),
        headers: headers.clone(),
        expose: expose.clone(),
        max_age: *max_age,
    }
}

fn write_path(path: &PathRewrite) -> proxy::PathRewrite {
    let path = match path {
        PathRewrite::Full(path) => Path::Full(path.clone()),
        PathRewrite::Prefix(path) => Path::Prefix(path.clone()),
    };
    proxy::PathRewrite { path: Some(path) }
}

fn write_target(target: &BackendTarget) -> proxy::BackendTarget {
    let target = match target {
        BackendTarget::Service(name) => Target::Service(name.to_string()),
        BackendTarget::Invalid { reason } => Target::Invalid(reason.clone()),
    };
    proxy::BackendTarget { target: Some(target) }
}

pub(super) fn encode_backend(backend: &Backend) -> proxy::Backend {
    let Backend { weight, target, filters } = backend;
    proxy::Backend {
        weight: *weight,
        target: Some(write_target(target)),
        filters: filters.iter().map(encode).collect(),
    }
}

pub(super) fn decode(filter: proxy::Filter) -> Result<Filter, Refusal> {
    Ok(match set("filter", filter.filter)? {
        filter::Filter::RequestHeaders(edits) => Filter::RequestHeaders(header_edits(edits)?),
        filter::Filter::ResponseHeaders(edits) => Filter::ResponseHeaders(header_edits(edits)?),
        filter::Filter::Redirect(r) => Filter::Redirect(redirect(r)?),
        filter::Filter::Rewrite(proxy::Rewrite { hostname, path }) => {
            Filter::Rewrite(Rewrite { hostname, path: path.map(path_rewrite).transpose()? })
        }
        filter::Filter::Cors(proxy::Cors {
            origins,
            credentials,
            methods,
            headers,
            expose,
            max_age,
        }) => Filter::Cors(Cors { origins, credentials, methods, headers, expose, max_age }),
        filter::Filter::Mirror(proxy::Mirror { target, numerator, denominator }) => {
            check(denominator > 0 && numerator <= denominator, "fraction", "it is no share")?;
            let fraction = Fraction { numerator, denominator };
            Filter::Mirror { target: backend_target(target)?, fraction }
        }
    })
}

fn header_edits(edits: proxy::HeaderEdits) -> Result<HeaderEdits, Refusal> {
    let proxy::HeaderEdits { set, add, remove } = edits;
    let lower = |name: &str| !name.is_empty() && !name.bytes().any(|b| b.is_ascii_uppercase());
    let named = |h: &proxy::Header| lower(&h.name);
    let allowed = set.iter().all(named) && add.iter().all(named) && remove.iter().all(|n| lower(n));
    check(allowed, "headers", "names are lower case and not empty")?;
    let headers = |list: Vec<proxy::Header>| list.into_iter().map(|h| (h.name, h.value)).collect();
    Ok(HeaderEdits { set: headers(set), add: headers(add), remove })
}

fn redirect(redirect: proxy::Redirect) -> Result<Redirect, Refusal> {
    let proxy::Redirect { scheme, hostname, path, port, status } = redirect;
    check(matches!(status, 301..=303 | 307 | 308), "status", "it is no redirection")?;
    check(
        scheme.as_deref().is_none_or(|s| matches!(s, "http" | "https")),
        "scheme",
        "it must be http or https",
    )?;
    Ok(Redirect {
        scheme,
        hostname,
        path: path.map(path_rewrite).transpose()?,
        port: port.map(|port| number("port", port)).transpose()?,
        status: number("status", status)?,
    })
}

fn path_rewrite(path: proxy::PathRewrite) -> Result<PathRewrite, Refusal> {
    Ok(match set("path", path.path)? {
        Path::Full(path) => PathRewrite::Full(path),
        Path::Prefix(path) => PathRewrite::Prefix(path),
    })
}

fn backend_target(target: Option<proxy::BackendTarget>) -> Result<BackendTarget, Refusal> {
    Ok(match set("target", set("target", target)?.target)? {
        Target::Service(name) => BackendTarget::Service(name.into()),
        Target::Invalid(reason) => BackendTarget::Invalid { reason },
    })
}

pub(super) fn decode_backend(backend: proxy::Backend) -> Result<Backend, Refusal> {
    let proxy::Backend { weight, target, filters } = backend;
    Ok(Backend { weight, target: backend_target(target)?, filters: each(filters, decode)? })
}
