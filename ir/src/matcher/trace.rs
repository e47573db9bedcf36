//! How a decision tells what it does, at no cost when nobody listens.

use std::sync::Arc;

use super::{conditions::Unmet, precedence::Criterion};
use crate::{HostPattern, Listener, Route};

/// Is told the steps of a decision as they are taken. All that `()` is told is compiled away.
pub trait Trace {
    /// Whether candidates after the winner are looked at too. The winner is the same either way.
    const EXHAUSTIVE: bool = false;

    /// `listener` was chosen: the most specific one for the host (or the server name).
    fn listener(&mut self, _listener: &Arc<Listener>) {}

    /// The host belongs to this listener, and not to the one that the server name chose.
    fn misdirected(&mut self, _owner: &Arc<Listener>) {}

    /// Rules of this hostname are looked at from now on. Most specific first; the next is only reached
    /// when no rule of this one fits (or when the trace is exhaustive).
    fn hostname(&mut self, _pattern: &HostPattern) {}

    /// A match whose host and path conditions are met was looked at. In order of precedence.
    fn candidate(&mut self, _route: &Arc<Route>, _match_index: usize, _verdict: Verdict) {}
}

impl Trace for () {}

/// What became of a candidate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The request goes where its rule says.
    Won,
    /// A condition beside host and path does not hold.
    Unmet(Unmet),
    /// All its conditions hold, and the winner comes before it by this.
    Outranked(Criterion),
}
