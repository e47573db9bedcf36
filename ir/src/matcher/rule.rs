//! A rule in the tables: the resource, what the caller made of it, and its compiled matches.

use std::sync::Arc;

use super::conditions::{Conditions, Refusal};
use crate::{ObjectRef, Route, RouteMatch};

/// A rule that may win.
#[derive(Debug)]
pub(super) struct Rule<P> {
    pub(super) route: Arc<Route>,
    pub(super) payload: Arc<P>,
    /// In the order of the route's.
    pub(super) matches: Arc<[Conditions]>,
}

impl<P> Rule<P> {
    pub(super) fn compile(
        route: &Arc<Route>,
        build: impl FnOnce(&Arc<Route>) -> Result<P, String>,
    ) -> Result<Self, Refusal> {
        if route.matches.is_empty() {
            return Err(Refusal::Empty);
        }
        let compiled =
            route.matches.iter().enumerate().map(|(index, of)| Conditions::compile(index, of));
        let matches = compiled.collect::<Result<_, _>>()?;
        let payload = Arc::new(build(route).map_err(Refusal::Payload)?);
        Ok(Self { route: route.clone(), payload, matches })
    }

    /// The same rule with another payload.
    pub(super) fn renew(&self, payload: P) -> Self {
        Self { route: self.route.clone(), payload: Arc::new(payload), matches: self.matches.clone() }
    }

    /// A candidate for each match.
    pub(super) fn candidates(self: &Arc<Self>) -> impl Iterator<Item = Candidate<P>> + '_ {
        self.matches.iter().zip(0..).map(|(conditions, index)| Candidate {
            rule: self.clone(),
            index,
            only_path: conditions.only_path(),
        })
    }
}

/// One match of a rule, as something that may win.
#[derive(Debug)]
pub(super) struct Candidate<P> {
    pub(super) rule: Arc<Rule<P>>,
    /// Of the match.
    pub(super) index: u32,
    /// Whether it wins whenever its path matches.
    pub(super) only_path: bool,
}

impl<P> Clone for Candidate<P> {
    fn clone(&self) -> Self {
        Self { rule: self.rule.clone(), index: self.index, only_path: self.only_path }
    }
}

impl<P> Candidate<P> {
    pub(super) fn conditions(&self) -> Option<&Conditions> {
        self.rule.matches.get(self.match_index())
    }

    pub(super) fn declared(&self) -> Option<&RouteMatch> {
        self.rule.route.matches.get(self.match_index())
    }

    pub(super) fn object(&self) -> &ObjectRef {
        &self.rule.route.route.object
    }

    pub(super) fn match_index(&self) -> usize {
        usize::try_from(self.index).unwrap_or(usize::MAX)
    }
}
