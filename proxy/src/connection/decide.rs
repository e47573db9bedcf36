//! Which rule a request goes by: its parts in normal form, given to the matcher.

use std::borrow::Cow;

use isthmus_ir::{
    matcher::{self, Bind, Connection, Decision},
    normalize,
};

use super::{Client, Door};
use crate::{
    http1::{FieldName, Method, Request, TargetForm},
    plan::Plan,
    snapshot::Snapshot,
};

/// What a request is served by.
pub(crate) struct Matched<'s> {
    pub(crate) plan: &'s Plan,
    /// The prefix that the path was matched by, without trailing slash.
    pub(crate) prefix: Option<&'s [u8]>,
    /// Whether the path that came is in normal form.
    pub(crate) plain: bool,
}

/// Why a request is answered here, with this status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) why: &'static str,
}

/// A request as the matcher sees it.
struct View<'a> {
    request: Request<'a>,
    host: Cow<'a, str>,
    path: Cow<'a, [u8]>,
}

impl matcher::Request for View<'_> {
    fn method(&self) -> &[u8] {
        self.request.method_bytes()
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn path(&self) -> &[u8] {
        &self.path
    }

    fn query(&self) -> Option<&[u8]> {
        self.request.query()
    }

    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        FieldName::new(name.as_bytes()).into_iter().flat_map(|name| self.request.fields().all(name))
    }
}

const fn refused(status: u16, why: &'static str) -> Refused {
    Refused { status, why }
}

/// The normal path of `request`.
///
/// # Errors
/// When it has none.
pub(crate) fn path(request: Request<'_>) -> Result<Cow<'_, [u8]>, Refused> {
    match request.path() {
        b"*" => Ok(Cow::Borrowed(&b"*"[..])),
        path => normalize::path(path).map_err(|_| refused(400, "the path is not allowed")),
    }
}

/// The normal host that `request` is for, and the port that it names.
///
/// # Errors
/// When it has none.
pub(crate) fn authority(request: Request<'_>) -> Result<normalize::Authority<'_>, Refused> {
    let authority = request.authority().ok_or(refused(400, "the host is missing"))?;
    normalize::authority(authority).map_err(|_| refused(400, "the host is not allowed"))
}

/// Decides by the tables of `snapshot`.
///
/// # Errors
/// When no rule takes the request: how it is answered.
pub(crate) fn decide<'s>(
    snapshot: &'s Snapshot,
    client: &Client,
    request: Request<'_>,
) -> Result<Matched<'s>, Refused> {
    if request.form() == TargetForm::Authority || request.method() == Method::Connect {
        return Err(refused(405, "CONNECT is not served"));
    }
    let path = path(request)?;
    let as_it_came = matches!(path, Cow::Borrowed(_)) && request.form() != TargetForm::Asterisk;
    let (bind, connection) = match &client.door {
        Door::Handle(handle) => {
            let by_handle = snapshot.handles.get(handle).and_then(|state| state.plan.as_ref());
            let plan = by_handle.ok_or(refused(404, "the handle is gone"))?;
            return Ok(Matched { plan, prefix: None, plain: as_it_came });
        }
        Door::Clear(bind) => (*bind, Connection::Clear),
        Door::Tls(bind, name) => (*bind, Connection::Tls { server_name: name.as_deref() }),
    };
    let view = View { request, host: authority(request)?.host, path };
    let group = group(snapshot, bind)?;
    match group.decide(connection, &view, &mut ()) {
        Decision::Route(winner) => {
            Ok(Matched { plan: winner.payload, prefix: winner.prefix, plain: as_it_came })
        }
        Decision::NotFound { .. } => Err(refused(404, "no route matches")),
        Decision::Misdirected { .. } => Err(refused(421, "the host is not this listener's")),
    }
}

fn group(snapshot: &Snapshot, bind: Bind) -> Result<matcher::Group<'_, Plan>, Refused> {
    snapshot.tables.group(bind).ok_or(refused(404, "the listener is gone"))
}
