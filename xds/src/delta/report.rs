//! What a client says of a commit: what it refused, and what it could not bind.

use isthmus_ir::Name;
use prost::Message;

use super::{ResourceId, Schema, Version, message};
use crate::proto::proxy;

/// `google.rpc.Code.INVALID_ARGUMENT`.
const REFUSED: i32 = 3;
/// At most so many bytes of details; a request must stay below the message limit.
const DETAIL_BYTES: usize = 1 << 20;
/// At most so many bytes of one reason.
const REASON_BYTES: usize = 1024;

/// What a client says of a commit. Everything that is not named is in force.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Resources whose last good version is in force, if there ever was one.
    pub refused: Vec<Refused>,
    /// Listeners that are not bound.
    pub unbound: Vec<Unbound>,
    /// How many more there are of both than fit into a message.
    pub omitted: u32,
}

/// A resource that was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Which one.
    pub id: ResourceId,
    /// The refused version.
    pub version: Version,
    /// Why.
    pub reason: String,
}

/// A listener that is not bound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unbound {
    /// Its name.
    pub name: Name,
    /// Why, as the operating system says.
    pub reason: String,
}

impl Report {
    /// As the error detail of a request; none when there is nothing to say.
    pub fn encode(&self, schema: &Schema) -> Option<message::Status> {
        let mut budget = Budget { bytes: DETAIL_BYTES, omitted: self.omitted };
        let refused = self.refused.iter().map(|r| refused(schema, r)).filter(|r| budget.admits(r));
        let refused: Vec<_> = refused.collect();
        let unbound = self.unbound.iter().map(unbound).filter(|u| budget.admits(u)).collect();
        let report = proxy::Report { refused, unbound, omitted: budget.omitted };
        if report == proxy::Report::default() {
            return None;
        }
        let message = format!("{} refused, {} not bound", self.refused.len(), self.unbound.len());
        let detail =
            message::Any { type_url: schema.report.to_owned(), value: report.encode_to_vec().into() };
        Some(message::Status { code: REFUSED, message, details: vec![detail] })
    }

    /// From the error detail of a request; none when it holds no report, so that nothing is known of
    /// what is in force. What it says of types that the schema does not have is left out.
    pub fn decode(schema: &Schema, status: &message::Status) -> Option<Self> {
        let detail = status.details.iter().find(|d| d.type_url == schema.report)?;
        let report = proxy::Report::decode(detail.value.clone()).ok()?;
        let refused = report.refused.into_iter().filter_map(|r| {
            let id = ResourceId { kind: schema.find(&r.type_url)?, name: r.name.into() };
            Some(Refused { id, version: r.version.parse().ok()?, reason: r.reason })
        });
        let unbound = report.unbound.into_iter();
        Some(Self {
            refused: refused.collect(),
            unbound: unbound.map(|u| Unbound { name: u.name.into(), reason: u.reason }).collect(),
            omitted: report.omitted,
        })
    }
}

/// What still fits.
struct Budget {
    bytes: usize,
    omitted: u32,
}

impl Budget {
    fn admits(&mut self, message: &impl Message) -> bool {
        let rest = self.bytes.checked_sub(message.encoded_len() + 8);
        match rest {
            Some(rest) => self.bytes = rest,
            None => self.omitted = self.omitted.saturating_add(1),
        }
        rest.is_some()
    }
}

fn refused(schema: &Schema, refused: &Refused) -> proxy::Refused {
    proxy::Refused {
        type_url: schema.url(refused.id.kind).to_owned(),
        name: refused.id.name.as_str().to_owned(),
        version: refused.version.to_string(),
        reason: shortened(&refused.reason),
    }
}

fn unbound(unbound: &Unbound) -> proxy::Unbound {
    proxy::Unbound { name: unbound.name.as_str().to_owned(), reason: shortened(&unbound.reason) }
}

fn shortened(reason: &str) -> String {
    let end = (0..=REASON_BYTES.min(reason.len())).rev().find(|at| reason.is_char_boundary(*at));
    reason.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}
