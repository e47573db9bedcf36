//! The decision: which rule, if any, a request goes by.

use std::sync::Arc;

use super::{
    conditions::PathTest,
    group::{Attached, Bind, Members, NoListener},
    precedence::{self, Criterion},
    request::{Connection, Request},
    rule::Candidate,
    tables::Tables,
    trace::{Trace, Verdict},
};
use crate::{Listener, Route};

/// What becomes of a request.
#[derive(Debug)]
pub enum Decision<'t, P> {
    /// It goes by a rule.
    Route(Winner<'t, P>),
    /// 404: no listener has the host, or none of the listener's rules matches.
    NotFound {
        /// The listener that it belongs to.
        listener: Option<&'t Arc<Listener>>,
    },
    /// 421: the host belongs to another listener than the one that the TLS server name chose.
    Misdirected {
        /// The one that the server name chose, if it is still there.
        listener: Option<&'t Arc<Listener>>,
    },
}

/// The rule that a request goes by.
#[derive(Debug)]
pub struct Winner<'t, P> {
    /// The listener that the request belongs to.
    pub listener: &'t Arc<Listener>,
    /// The rule.
    pub rule: &'t Arc<Route>,
    /// What the caller made of the rule.
    pub payload: &'t Arc<P>,
    /// The index of the match in `rule.matches`.
    pub match_index: usize,
    /// The prefix by which the path was matched, without trailing slash (so empty for `/`): what
    /// `ReplacePrefixMatch` replaces. None when the path was matched otherwise.
    pub prefix: Option<&'t [u8]>,
}

/// The listeners of one socket, to decide by.
pub struct Group<'t, P> {
    tables: &'t Tables<P>,
    members: &'t Members,
}

impl<P> Clone for Group<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Group<'_, P> {}

impl<'t, P> Group<'t, P> {
    pub(super) fn new(tables: &'t Tables<P>, members: &'t Members) -> Self {
        Self { tables, members }
    }

    /// The tables that the group is of.
    pub fn tables(self) -> &'t Tables<P> {
        self.tables
    }

    /// The socket.
    pub fn bind(self) -> Bind {
        self.members.bind
    }

    /// The listeners, in order of name.
    pub fn listeners(self) -> impl Iterator<Item = &'t Arc<Listener>> {
        self.members.all.iter().filter_map(move |&place| self.listener(place))
    }

    /// The listener whose certificates are shown to a TLS client that asks for `server_name` (from
    /// [`normalize::server_name`](crate::normalize::server_name)). None: the handshake is refused with
    /// `unrecognized_name`.
    pub fn choose_tls(self, server_name: Option<&str>) -> Option<&'t Arc<Listener>> {
        self.listener(self.members.by_server_name(server_name)?)
    }

    /// Decides by which rule `request` goes, and tells `trace` how.
    pub fn decide<R: Request, T: Trace>(
        self,
        connection: Connection<'_>,
        request: &R,
        trace: &mut T,
    ) -> Decision<'t, P> {
        let place = match self.members.by_request(connection, request.host()) {
            Ok(place) => place,
            Err(NoListener::Unknown) => return Decision::NotFound { listener: None },
            Err(NoListener::Misdirected(chosen, owner)) => {
                return self.misdirected(chosen, owner, trace);
            }
        };
        let Some(attached) = self.tables.attached(place) else {
            return Decision::NotFound { listener: None };
        };
        trace.listener(&attached.listener);
        match winner(attached, request, trace) {
            Some(candidate) => Decision::Route(Winner::new(&attached.listener, candidate)),
            None => Decision::NotFound { listener: Some(&attached.listener) },
        }
    }

    fn misdirected(
        self,
        chosen: Option<usize>,
        owner: usize,
        trace: &mut impl Trace,
    ) -> Decision<'t, P> {
        let listener = chosen.and_then(|place| self.listener(place));
        if let Some(listener) = listener {
            trace.listener(listener);
        }
        if let Some(owner) = self.listener(owner) {
            trace.misdirected(owner);
        }
        Decision::Misdirected { listener }
    }

    fn listener(self, place: usize) -> Option<&'t Arc<Listener>> {
        self.tables.attached(place).map(|attached| &attached.listener)
    }
}

impl<'t, P> Winner<'t, P> {
    fn new(listener: &'t Arc<Listener>, candidate: &'t Candidate<P>) -> Self {
        let prefix = match candidate.conditions().map(|c| &c.path) {
            Some(PathTest::Prefix(prefix)) => Some(&**prefix),
            _ => None,
        };
        Self {
            listener,
            rule: &candidate.rule.route,
            payload: &candidate.rule.payload,
            match_index: candidate.match_index(),
            prefix,
        }
    }
}

/// The first candidate, by hostname and then by precedence, whose conditions all hold.
fn winner<'t, P, R: Request, T: Trace>(
    attached: &'t Attached<P>,
    request: &R,
    trace: &mut T,
) -> Option<&'t Candidate<P>> {
    let mut winner: Option<(usize, &Candidate<P>)> = None;
    for (place, bucket) in attached.hosts.matching(request.host()).enumerate() {
        trace.hostname(&bucket.pattern);
        let more = bucket.visit(request.path(), |candidate| {
            let verdict = verdict(candidate, request, || {
                let (at, first) = winner?;
                Some(outranked(at == place, first, candidate))
            });
            trace.candidate(&candidate.rule.route, candidate.match_index(), verdict);
            if verdict == Verdict::Won {
                winner = Some((place, candidate));
            }
            winner.is_none() || T::EXHAUSTIVE
        });
        if !more {
            break;
        }
    }
    winner.map(|(_, candidate)| candidate)
}

fn verdict<P>(
    candidate: &Candidate<P>,
    request: &impl Request,
    outranked: impl FnOnce() -> Option<Criterion>,
) -> Verdict {
    let unmet = match candidate.conditions() {
        Some(conditions) if !candidate.only_path => conditions.unmet(request),
        _ => None,
    };
    match unmet {
        Some(unmet) => Verdict::Unmet(unmet),
        None => outranked().map_or(Verdict::Won, Verdict::Outranked),
    }
}

/// By what the winner comes before another candidate.
fn outranked<P>(same_hostname: bool, winner: &Candidate<P>, other: &Candidate<P>) -> Criterion {
    if same_hostname { precedence::compare(winner, other).1 } else { Criterion::Hostname }
}
