//! Cross-origin requests (Gateway API `HTTPCORSFilter`; Fetch, section 3.2): preflights are answered here,
//! and answers to requests of an allowed origin say that its pages may read them.
//!
//! An origin that is not allowed gets its answer without such fields, and its browser keeps it from the
//! page. The field `Origin` is echoed and never `*`, so one way serves with and without credentials.

use isthmus_ir::{self as ir, cors::Origin};

use crate::http1::{Edits, FieldName, FieldsView, Method, Request};

const ORIGIN: &[u8] = b"origin";
const ASKED_METHOD: &[u8] = b"access-control-request-method";
const ASKED_HEADERS: &[u8] = b"access-control-request-headers";
const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const ALLOW_CREDENTIALS: &str = "access-control-allow-credentials";
const EXPOSE: &str = "access-control-expose-headers";

/// The compiled filter of a rule.
pub(crate) struct Cors {
    origins: Box<[Origin]>,
    credentials: bool,
    methods: List,
    headers: List,
    expose: Option<Box<[u8]>>,
    max_age: Box<[u8]>,
}

/// What a preflight may ask for.
enum List {
    /// Whatever it asks for.
    Any,
    /// These; nothing is said when they are none.
    These(Box<[u8]>),
}

/// A field of an answer of our own.
pub(crate) type Field = (&'static str, Box<[u8]>);

impl Cors {
    /// # Errors
    /// When an origin is none.
    pub(crate) fn compile(cors: &ir::Cors) -> Result<Self, String> {
        let origin = |text: &String| Origin::parse(text).map_err(|why| format!("{text:?} {why}"));
        let is_any = |names: &[String]| names.iter().any(|name| name == "*");
        let expose = match (is_any(&cors.expose), cors.credentials) {
            // With credentials a star would be a name.
            (true, true) => None,
            (true, false) => Some(b"*".as_slice().into()),
            _ => Some(joined(&cors.expose)).filter(|names| !names.is_empty()),
        };
        Ok(Self {
            origins: cors.origins.iter().map(origin).collect::<Result<_, _>>()?,
            credentials: cors.credentials,
            methods: List::of(&cors.methods),
            headers: List::of(&cors.headers),
            expose,
            max_age: cors.max_age.to_string().into_bytes().into(),
        })
    }

    /// The fields of the answer to `request`, if it is a preflight.
    pub(crate) fn preflight(&self, request: Request<'_>) -> Option<Vec<Field>> {
        let asked = value(request, ASKED_METHOD).filter(|_| request.method() == Method::Options)?;
        let origin = value(request, ORIGIN)?;
        let vary = "origin, access-control-request-method, access-control-request-headers";
        let mut fields = vec![("vary", vary.as_bytes().into())];
        if !self.allows(origin) {
            return Some(fields);
        }
        fields.push((ALLOW_ORIGIN, origin.into()));
        if self.credentials {
            fields.push((ALLOW_CREDENTIALS, b"true".as_slice().into()));
        }
        let mut list = |name, list: &List, asked: Option<&[u8]>| {
            fields.extend(list.answer(asked).map(|value| (name, value.into())));
        };
        list("access-control-allow-methods", &self.methods, Some(asked));
        list("access-control-allow-headers", &self.headers, value(request, ASKED_HEADERS));
        // Browsers look for it in the answer itself; the conformance suite looks for it here too.
        fields.extend(self.expose.clone().map(|expose| (EXPOSE, expose)));
        fields.push(("access-control-max-age", self.max_age.clone()));
        Some(fields)
    }

    /// The origin of `request`, when its pages may read the answer.
    pub(crate) fn reader(&self, request: Request<'_>) -> Option<Box<[u8]>> {
        value(request, ORIGIN).filter(|origin| self.allows(origin)).map(Into::into)
    }

    /// Says in an answer that `origin` may read it.
    pub(crate) fn admit(&self, origin: &[u8], fields: FieldsView<'_>, edits: &mut Edits) {
        let mut set = |name: &'static str, value: &[u8]| {
            if let Some(name) = FieldName::new(name.as_bytes()) {
                // An origin came as a value, and the others are ours.
                let _ = edits.set(fields, name, value);
            }
        };
        set(ALLOW_ORIGIN, origin);
        if self.credentials {
            set(ALLOW_CREDENTIALS, b"true");
        }
        if let Some(expose) = &self.expose {
            set(EXPOSE, expose);
        }
        if let Some(vary) = FieldName::new(b"vary") {
            let _ = edits.add(vary, ORIGIN);
        }
    }

    fn allows(&self, origin: &[u8]) -> bool {
        self.origins.iter().any(|allowed| allowed.allows(origin))
    }
}

impl List {
    fn of(names: &[String]) -> Self {
        if names.iter().any(|name| name == "*") { Self::Any } else { Self::These(joined(names)) }
    }

    fn answer<'a>(&'a self, asked: Option<&'a [u8]>) -> Option<&'a [u8]> {
        match self {
            Self::Any => asked,
            Self::These(names) => Some(&**names).filter(|names| !names.is_empty()),
        }
    }
}

fn joined(names: &[String]) -> Box<[u8]> {
    names.join(", ").into_bytes().into()
}

fn value<'a>(request: Request<'a>, name: &'static [u8]) -> Option<&'a [u8]> {
    FieldName::new(name).and_then(|name| request.fields().all(name).next())
}
