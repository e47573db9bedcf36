//! Filters of HTTPRoute, of rules and of backends alike.

use gateway_api::experimental::httproutes::{
    HttpRouteRulesFilters, HttpRouteRulesFiltersCors, HttpRouteRulesFiltersRequestHeaderModifier,
    HttpRouteRulesFiltersRequestMirror, HttpRouteRulesFiltersRequestRedirect,
    HttpRouteRulesFiltersRequestRedirectPath, HttpRouteRulesFiltersRequestRedirectPathType,
    HttpRouteRulesFiltersRequestRedirectScheme, HttpRouteRulesFiltersResponseHeaderModifier,
    HttpRouteRulesFiltersType, HttpRouteRulesFiltersUrlRewrite, HttpRouteRulesFiltersUrlRewritePath,
    HttpRouteRulesFiltersUrlRewritePathType,
};
use isthmus_ir::{Cors, Filter, Fraction, HeaderEdits, PathRewrite, Redirect, Rewrite};

use super::{
    decode::{Fault, Path, optional_port},
    http_route::backend_object,
};
use crate::fact::{BackendRef, GroupKind, HttpFilter, ObjectReference};

/// Reads `filters` of the rule or backend at `path`.
pub(super) fn filters(
    written: Vec<HttpRouteRulesFilters>,
    path: &Path,
) -> Result<Vec<HttpFilter>, Fault> {
    let each = written.into_iter().enumerate();
    each.map(|(index, one)| filter(one, &path.item("filters", index))).collect()
}

fn filter(written: HttpRouteRulesFilters, path: &Path) -> Result<HttpFilter, Fault> {
    use HttpRouteRulesFiltersType as Type;
    Ok(match written.r#type {
        Type::RequestHeaderModifier => {
            let edits = written.request_header_modifier.map(request_edits);
            plain(edits.map(Filter::RequestHeaders), path, "requestHeaderModifier")?
        }
        Type::ResponseHeaderModifier => {
            let edits = written.response_header_modifier.map(response_edits);
            plain(edits.map(Filter::ResponseHeaders), path, "responseHeaderModifier")?
        }
        Type::RequestRedirect => {
            let path = path.field("requestRedirect");
            let written = written.request_redirect.ok_or_else(|| missing(&path))?;
            HttpFilter::Plain(Filter::Redirect(redirect(written, &path)?))
        }
        Type::UrlRewrite => {
            let path = path.field("urlRewrite");
            let written = written.url_rewrite.ok_or_else(|| missing(&path))?;
            HttpFilter::Plain(Filter::Rewrite(rewrite(written, &path)?))
        }
        Type::RequestMirror => {
            let path = path.field("requestMirror");
            mirror(written.request_mirror.ok_or_else(|| missing(&path))?, &path)?
        }
        Type::ExtensionRef => {
            let path = path.field("extensionRef");
            let reference = written.extension_ref.ok_or_else(|| missing(&path))?;
            let kind = GroupKind { group: reference.group, kind: reference.kind };
            HttpFilter::Extension(ObjectReference { kind, namespace: None, name: reference.name })
        }
        Type::Cors => plain(written.cors.map(|one| Filter::Cors(cors(one))), path, "cors")?,
        Type::ExternalAuth => HttpFilter::Unsupported("ExternalAuth".to_owned()),
    })
}

fn missing(path: &Path) -> Fault {
    path.fault("it is required by the filter's type")
}

fn plain(filter: Option<Filter>, path: &Path, field: &str) -> Result<HttpFilter, Fault> {
    filter.map(HttpFilter::Plain).ok_or_else(|| missing(&path.field(field)))
}

fn request_edits(written: HttpRouteRulesFiltersRequestHeaderModifier) -> HeaderEdits {
    let set = written.set.unwrap_or_default().into_iter().map(|field| (field.name, field.value));
    let add = written.add.unwrap_or_default().into_iter().map(|field| (field.name, field.value));
    edits(set, add, written.remove)
}

fn response_edits(written: HttpRouteRulesFiltersResponseHeaderModifier) -> HeaderEdits {
    let set = written.set.unwrap_or_default().into_iter().map(|field| (field.name, field.value));
    let add = written.add.unwrap_or_default().into_iter().map(|field| (field.name, field.value));
    edits(set, add, written.remove)
}

fn edits(
    set: impl Iterator<Item = (String, String)>,
    add: impl Iterator<Item = (String, String)>,
    remove: Option<Vec<String>>,
) -> HeaderEdits {
    let remove = remove.unwrap_or_default();
    HeaderEdits {
        set: distinct(set),
        add: distinct(add),
        remove: remove.into_iter().map(|name| name.to_ascii_lowercase()).collect(),
    }
}

/// Lower-case names; of several entries of one name only the first counts (Gateway API, `HTTPHeader.name`).
fn distinct(fields: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut kept: Vec<(String, String)> = Vec::new();
    for (name, value) in fields {
        let name = name.to_ascii_lowercase();
        if kept.iter().all(|(other, _)| *other != name) {
            kept.push((name, value));
        }
    }
    kept
}

fn cors(written: HttpRouteRulesFiltersCors) -> Cors {
    let lower = |names: Option<Vec<String>>| {
        names.into_iter().flatten().map(|name| name.to_ascii_lowercase()).collect()
    };
    Cors {
        origins: written.allow_origins.unwrap_or_default(),
        credentials: written.allow_credentials.unwrap_or(false),
        methods: written.allow_methods.unwrap_or_default(),
        headers: lower(written.allow_headers),
        expose: lower(written.expose_headers),
        max_age: written.max_age.and_then(|age| u32::try_from(age).ok()).unwrap_or(5),
    }
}

fn redirect(written: HttpRouteRulesFiltersRequestRedirect, path: &Path) -> Result<Redirect, Fault> {
    let status = written.status_code.unwrap_or(302);
    let known = u16::try_from(status).ok().filter(|s| matches!(s, 301 | 302 | 303 | 307 | 308));
    Ok(Redirect {
        scheme: written.scheme.map(|scheme| {
            match scheme {
                HttpRouteRulesFiltersRequestRedirectScheme::Http => "http",
                HttpRouteRulesFiltersRequestRedirectScheme::Https => "https",
            }
            .to_owned()
        }),
        hostname: written.hostname,
        path: written.path.map(|one| redirect_path(one, &path.field("path"))).transpose()?,
        port: optional_port(written.port, &path.field("port"))?,
        status: known.ok_or_else(|| {
            path.field("statusCode").fault(format!("{status} is none of 301, 302, 303, 307 and 308"))
        })?,
    })
}

fn redirect_path(
    written: HttpRouteRulesFiltersRequestRedirectPath,
    path: &Path,
) -> Result<PathRewrite, Fault> {
    let (full, prefix) = (written.replace_full_path, written.replace_prefix_match);
    match written.r#type {
        HttpRouteRulesFiltersRequestRedirectPathType::ReplaceFullPath => full_path(full, path),
        HttpRouteRulesFiltersRequestRedirectPathType::ReplacePrefixMatch => prefix_match(prefix, path),
    }
}

fn rewrite(written: HttpRouteRulesFiltersUrlRewrite, path: &Path) -> Result<Rewrite, Fault> {
    let at = path.field("path");
    let new_path = written.path.map(|one| rewrite_path(one, &at)).transpose()?;
    Ok(Rewrite { hostname: written.hostname, path: new_path })
}

fn rewrite_path(
    written: HttpRouteRulesFiltersUrlRewritePath,
    path: &Path,
) -> Result<PathRewrite, Fault> {
    let (full, prefix) = (written.replace_full_path, written.replace_prefix_match);
    match written.r#type {
        HttpRouteRulesFiltersUrlRewritePathType::ReplaceFullPath => full_path(full, path),
        HttpRouteRulesFiltersUrlRewritePathType::ReplacePrefixMatch => prefix_match(prefix, path),
    }
}

fn full_path(value: Option<String>, path: &Path) -> Result<PathRewrite, Fault> {
    value.map(PathRewrite::Full).ok_or_else(|| missing(&path.field("replaceFullPath")))
}

fn prefix_match(value: Option<String>, path: &Path) -> Result<PathRewrite, Fault> {
    value.map(PathRewrite::Prefix).ok_or_else(|| missing(&path.field("replacePrefixMatch")))
}

fn mirror(written: HttpRouteRulesFiltersRequestMirror, path: &Path) -> Result<HttpFilter, Fault> {
    let fraction = share(&written, path)?;
    let target = written.backend_ref;
    let port = optional_port(target.port, &path.field("backendRef").field("port"))?;
    let object = backend_object(target.group, target.kind, target.namespace, target.name);
    let backend = BackendRef { object, port, weight: 1, filters: Vec::new() };
    Ok(HttpFilter::Mirror { backend, fraction })
}

/// The share of requests that are mirrored: all of them when nothing is said.
fn share(written: &HttpRouteRulesFiltersRequestMirror, path: &Path) -> Result<Fraction, Fault> {
    let (numerator, denominator, path) = match (&written.fraction, written.percent) {
        (Some(_), Some(_)) => {
            return Err(path.field("percent").fault("only one of percent and fraction may be set"));
        }
        (Some(f), None) => (f.numerator, f.denominator.unwrap_or(100), path.field("fraction")),
        (None, Some(percent)) => (percent, 100, path.field("percent")),
        (None, None) => (1, 1, path.field("percent")),
    };
    let fraction = u32::try_from(numerator).ok().zip(u32::try_from(denominator).ok());
    let sound = fraction.filter(|(n, d)| *d > 0 && n <= d);
    let (numerator, denominator) =
        sound.ok_or_else(|| path.fault(format!("{numerator} of {denominator} is no share")))?;
    Ok(Fraction { numerator, denominator })
}
