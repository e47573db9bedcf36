//! A decision with its reasons, as plain data: which listener, which hostnames, which matches were looked
//! at and why each of them did not win.
//!
//! The decision is made by the code that serves, which is traced. What it never needed to look at
//! (listeners of other hosts, rules of other hosts and paths) is added afterwards, and changes nothing.

mod location;
mod question;
mod text;

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Connection, Criterion, Decision, Group, Request, Trace, Unmet, Verdict};
use crate::{HostPattern, Listener, Name, Protocol, Route, RouteMatch};

pub use location::location;
pub use question::{BadQuestion, Question};

/// The reasons of one decision.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What was decided about.
    pub request: Normal,
    /// Every listener of the socket, in order of name.
    pub listeners: Vec<ListenerStep>,
    /// Matches of the chosen listener's rules: first those whose host and path conditions are met, in
    /// order of precedence, then others by the name of their rule.
    pub matches: Vec<MatchStep>,
    /// How many of the others were left out.
    pub omitted: usize,
    /// What was decided.
    pub outcome: Outcome,
}

/// A request in normal form, as text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Normal {
    /// The TLS server name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub server_name: Option<String>,
    /// The method.
    pub method: String,
    /// The host.
    pub host: String,
    /// The path.
    pub path: String,
    /// The query.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub query: Option<String>,
}

/// One listener.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStep {
    /// `namespace/name` of its Gateway.
    pub gateway: String,
    /// Its name in the Gateway.
    pub section: String,
    /// `*` for any.
    pub hostname: String,
    /// What became of it.
    pub fate: ListenerFate,
}

/// What became of a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ListenerFate {
    /// It was chosen.
    Chosen,
    /// The server name chose another, and the host belongs to this one.
    OwnsHost,
    /// It speaks another protocol than the connection.
    OtherProtocol,
    /// The host is none of its hosts.
    OtherHost,
    /// A listener with a more specific hostname was chosen.
    LessSpecific,
}

/// One match of a rule.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MatchStep {
    /// The rule's resource name: `<kind>/<namespace>/<name>/<rule index>`.
    pub rule: String,
    /// The rule's own name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rule_name: Option<String>,
    /// The index of the match in the rule.
    pub match_index: usize,
    /// The hostname by which the rule was looked at; several, with commas, when the host is none of them.
    pub hostname: String,
    /// What the match asks for.
    pub conditions: String,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a match.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Fate {
    /// The request goes by it.
    Won,
    /// All that it asks for holds, but the winner comes first.
    Outranked {
        /// By what.
        by: Criterion,
    },
    /// Another method is wanted.
    Method,
    /// A header field is missing or has another value.
    Header {
        /// The field.
        name: String,
        /// Its values, joined by commas; none when it is missing.
        found: Option<String>,
    },
    /// A query parameter is missing or has another value.
    Query {
        /// The parameter.
        name: String,
        /// Its first value, decoded; none when it is missing.
        found: Option<String>,
    },
    /// Another path is wanted.
    Path,
    /// Another host is wanted.
    Host,
}

/// What was decided.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Outcome {
    /// The request goes by a rule.
    #[serde(rename_all = "camelCase")]
    Route {
        /// The listener's resource name.
        listener: String,
        /// The rule's resource name.
        rule: String,
        /// The index of the match in the rule.
        match_index: usize,
        /// The prefix that the path was matched by.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        prefix: Option<String>,
    },
    /// 404.
    NotFound,
    /// 421.
    Misdirected,
}

/// Decides about `request` and says why. At most `others` matches that never were candidates are listed.
pub fn explain<'t, P, R: Request>(
    group: Group<'t, P>,
    connection: Connection<'_>,
    request: &R,
    others: usize,
) -> (Explanation, Decision<'t, P>) {
    let mut record = Record::new(request);
    let decision = group.decide(connection, request, &mut record);
    let listeners = group.listeners().map(|of| record.listener_step(of, connection)).collect();
    let rest = record.others(group);
    let omitted = rest.len().saturating_sub(others);
    let mut matches = record.matches;
    matches.extend(rest.into_iter().take(others));
    let request = normal(connection, request);
    (Explanation { request, listeners, matches, omitted, outcome: outcome(&decision) }, decision)
}

fn normal<R: Request>(connection: Connection<'_>, request: &R) -> Normal {
    let server_name = match connection {
        Connection::Tls { server_name } => server_name.map(str::to_owned),
        Connection::Clear => None,
    };
    Normal {
        server_name,
        method: lossy(request.method()),
        host: request.host().to_owned(),
        path: lossy(request.path()),
        query: request.query().map(lossy),
    }
}

fn outcome<P>(decision: &Decision<'_, P>) -> Outcome {
    match decision {
        Decision::Route(winner) => Outcome::Route {
            listener: winner.listener.name.to_string(),
            rule: winner.rule.name.to_string(),
            match_index: winner.match_index,
            prefix: winner.prefix.map(|prefix| match String::from_utf8_lossy(prefix) {
                root if root.is_empty() => "/".to_owned(),
                prefix => prefix.into_owned(),
            }),
        },
        Decision::NotFound { .. } => Outcome::NotFound,
        Decision::Misdirected { .. } => Outcome::Misdirected,
    }
}

/// What a decision said while it was made.
struct Record<'r, R> {
    request: &'r R,
    chosen: Option<Arc<Listener>>,
    owner: Option<Arc<Listener>>,
    hostname: String,
    matches: Vec<MatchStep>,
    /// Matches that are told of, each with its rule: by a less specific hostname they may come again.
    seen: BTreeSet<(Name, usize)>,
}

impl<R: Request> Trace for Record<'_, R> {
    const EXHAUSTIVE: bool = true;

    fn listener(&mut self, listener: &Arc<Listener>) {
        self.chosen = Some(listener.clone());
    }

    fn misdirected(&mut self, owner: &Arc<Listener>) {
        self.owner = Some(owner.clone());
    }

    fn hostname(&mut self, pattern: &HostPattern) {
        self.hostname = pattern.to_string();
    }

    fn candidate(&mut self, route: &Arc<Route>, match_index: usize, verdict: Verdict) {
        let Some(of) = route.matches.get(match_index) else { return };
        if !self.seen.insert((route.name.clone(), match_index)) {
            return;
        }
        let fate = match verdict {
            Verdict::Won => Fate::Won,
            Verdict::Outranked(by) => Fate::Outranked { by },
            Verdict::Unmet(unmet) => self.unmet(of, unmet),
        };
        self.matches.push(step(route, match_index, of, self.hostname.clone(), fate));
    }
}

impl<'r, R: Request> Record<'r, R> {
    fn new(request: &'r R) -> Self {
        Self {
            request,
            chosen: None,
            owner: None,
            hostname: String::new(),
            matches: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    fn unmet(&self, of: &RouteMatch, unmet: Unmet) -> Fate {
        match unmet {
            Unmet::Method => Fate::Method,
            Unmet::Header(index) => {
                let name = of.headers.get(index).map(|header| header.name.clone()).unwrap_or_default();
                let values: Vec<&[u8]> = self.request.header(&name).collect();
                let found = (!values.is_empty()).then(|| lossy(&values.join(&b',')));
                Fate::Header { name, found }
            }
            Unmet::Query(index) => {
                let name = of.query.get(index).map(|query| query.name.clone()).unwrap_or_default();
                let value = super::query::first(self.request.query().unwrap_or_default(), &name);
                Fate::Query { found: value.map(|value| lossy(&super::query::decode(value))), name }
            }
        }
    }

    fn listener_step(&self, of: &Listener, connection: Connection<'_>) -> ListenerStep {
        let is = |other: &Option<Arc<Listener>>| other.as_ref().is_some_and(|l| l.name == of.name);
        let speaks = match of.protocol {
            Protocol::Http => connection == Connection::Clear,
            Protocol::Https { .. } => connection != Connection::Clear,
            Protocol::EastWest => false,
        };
        let fate = if is(&self.chosen) {
            ListenerFate::Chosen
        } else if is(&self.owner) {
            ListenerFate::OwnsHost
        } else if !speaks {
            ListenerFate::OtherProtocol
        } else if !of.hostname.matches(self.request.host()) {
            ListenerFate::OtherHost
        } else {
            ListenerFate::LessSpecific
        };
        ListenerStep {
            gateway: of.gateway.to_string(),
            section: of.section.clone(),
            hostname: of.hostname.to_string(),
            fate,
        }
    }

    /// The matches of the chosen listener's rules that were no candidates: those of the host first.
    fn others<P>(&self, group: Group<'_, P>) -> Vec<MatchStep> {
        let (Some(chosen), None) = (&self.chosen, &self.owner) else { return Vec::new() };
        let mut others: Vec<MatchStep> = Vec::new();
        for (route, _) in group.tables().rules() {
            let Some((hostname, fate)) = self.elsewhere(chosen, route) else { continue };
            for (index, of) in route.matches.iter().enumerate() {
                if !self.seen.contains(&(route.name.clone(), index)) {
                    others.push(step(route, index, of, hostname.clone(), fate.clone()));
                }
            }
        }
        others.sort_by(|a, b| {
            let key = |s: &MatchStep| (s.fate == Fate::Host, s.rule.clone(), s.match_index);
            key(a).cmp(&key(b))
        });
        others
    }

    /// By which hostnames a rule is attached, and why none of its matches that are left could win.
    fn elsewhere(&self, listener: &Listener, route: &Route) -> Option<(String, Fate)> {
        let own = route.attachments.iter().filter(|attachment| attachment.listener == listener.name);
        let hostnames: Vec<&HostPattern> = own.flat_map(|attachment| &attachment.hostnames).collect();
        let matching = hostnames.iter().find(|pattern| pattern.matches(self.request.host()));
        match (matching, hostnames.as_slice()) {
            (_, []) => None,
            (Some(pattern), _) => Some((pattern.to_string(), Fate::Path)),
            (None, all) => {
                let all: Vec<String> = all.iter().map(ToString::to_string).collect();
                Some((all.join(", "), Fate::Host))
            }
        }
    }
}

fn step(route: &Route, match_index: usize, of: &RouteMatch, hostname: String, fate: Fate) -> MatchStep {
    MatchStep {
        rule: route.name.to_string(),
        rule_name: route.rule_name.clone(),
        match_index,
        hostname,
        conditions: text::conditions(of),
        fate,
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
