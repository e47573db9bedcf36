//! The matcher: from listeners and routes to the decision about one request.
//!
//! Proxies serve by it, and `explain` runs it with a [`Trace`] on the same tables.
//! Nothing here reads a clock, draws a number or talks to anybody.
//!
//! ```
//! # use isthmus_ir::{matcher::*, Change};
//! # fn serve<R: Request>(changes: &[Change], request: &R) {
//! // When resources changed (a payload for each rule that is new or changed; here the number of backends):
//! let updated = Tables::default().update(changes, |rule| Ok(rule.backends.len()));
//! // For each socket (`updated.tables.groups()`), for each request, in normal form:
//! let bind = Bind { address: None, port: 80 };
//! let Some(group) = updated.tables.group(bind) else { return };
//! match group.decide(Connection::Clear, request, &mut ()) {
//!     Decision::Route(winner) => println!("{} has {} backends", winner.rule.name, winner.payload),
//!     Decision::NotFound { .. } => println!("404"),
//!     Decision::Misdirected { .. } => println!("421"),
//! }
//! # }
//! ```
//!
//! For a TLS handshake, [`Group::choose_tls`] says whose certificates are shown; its requests are decided
//! with [`Connection::Tls`] and the same server name. [`rewrite`] has the paths and locations of filters,
//! and [`explain`] the decision with its reasons. A `P` that depends on more than its rule is brought up to
//! date by [`Tables::renew`]. Replaced tables are best dropped where nobody waits.
//!
//! # Cost
//! A decision takes one hash lookup for each label of the host (one when no wildcards are declared) and
//! one for each element of the path, however many routes there are, and allocates nothing, except to join
//! a field of several values for a regular expression. Rules of one hostname are tried one after another
//! where only headers, queries or regular expressions tell them apart (4 to 6 ns each). An edit copies a few
//! shards of a hundred entries or so.
//!
//! # Precedence (Gateway API v1.7)
//! 1. The listener with the most specific hostname, and only that one.
//! 2. Of its rules, those with the most specific hostname. When none of their matches fits, those with the
//!    next less specific one that matches the host, and so on.
//! 3. An exact path, then regular expressions (more characters first; the specification leaves their
//!    place open), then prefixes (more characters first; whole elements).
//! 4. A condition on the method, then more header conditions, then more query conditions.
//! 5. The older route, then the first by `namespace/name`, then the first rule, then the first match.

mod bucket;
mod conditions;
mod decide;
pub mod explain;
mod group;
mod hosts;
mod pattern;
mod precedence;
mod query;
mod request;
pub mod rewrite;
mod rule;
mod shards;
mod tables;
#[cfg(test)]
mod tests;
mod trace;

pub use conditions::{Refusal, Unmet};
pub use decide::{Decision, Group, Winner};
pub use group::Bind;
pub use pattern::{BadPattern, Pattern};
pub use precedence::Criterion;
pub use request::{Connection, Request};
pub use tables::{Refused, Tables, Updated};
pub use trace::{Trace, Verdict};
