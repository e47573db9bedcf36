//! Where exports of one service disagree, and the condition that says so on every one of them.

use std::{fmt, sync::Arc};

use crate::condition::Condition;

/// How many disagreements a message lists.
const LISTED: usize = 8;

/// One export that says something else than an older one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// What is disagreed on.
    pub kind: ConflictKind,
    /// Whose export yields.
    pub cluster: Arc<str>,
    /// What it says, and what holds instead.
    pub detail: String,
}

/// What exports can disagree on. The order is the order of reasons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ConflictKind {
    /// Names, numbers or protocols of ports, or that one of them has a port at all.
    Port,
    /// Headless or not.
    Type,
    /// `sessionAffinity`.
    SessionAffinity,
}

impl ConflictKind {
    /// The specification's reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Port => "PortConflict",
            Self::Type => "TypeConflict",
            Self::SessionAffinity => "SessionAffinityConflict",
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cluster {}: {}", self.cluster, self.detail)
    }
}

/// The condition `Conflict` of an export of generation `generation`, the same on all of them (case H1).
pub fn conflict_condition(generation: i64, conflicts: &[Conflict]) -> Condition {
    let mut kinds: Vec<_> = conflicts.iter().map(|c| c.kind).collect();
    kinds.sort();
    kinds.dedup();
    let reasons: Vec<_> = kinds.into_iter().map(ConflictKind::reason).collect();
    let mut lines: Vec<_> = conflicts.iter().take(LISTED).map(Conflict::to_string).collect();
    if conflicts.len() > LISTED {
        lines.push(format!("and {} more", conflicts.len() - LISTED));
    }
    let (reason, message) = match conflicts {
        [] => ("NoConflicts".to_owned(), "all clusters export the service alike".to_owned()),
        _ => (reasons.join(","), lines.join("; ")),
    };
    Condition { kind: "Conflict", status: !conflicts.is_empty(), reason, message, generation }
}
