//! Conditions as Gateway API has them, before they are written: no time and no generation yet.

use std::borrow::Cow;

/// One condition (`metav1.Condition`) that some translation came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// `type`, exactly as specified, or one of our own group.
    pub kind: &'static str,
    /// `status`.
    pub verdict: Verdict,
    /// `reason`, exactly as specified where the specification has one.
    pub reason: &'static str,
    /// `message`: names object and field, and says what to do.
    pub message: Cow<'static, str>,
}

/// `status` of a condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// `True`.
    True,
    /// `False`.
    False,
    /// `Unknown`.
    Unknown,
}

impl Verdict {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl Condition {
    /// A condition that holds.
    pub fn is(kind: &'static str, reason: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, verdict: Verdict::True, reason, message: message.into() }
    }

    /// A condition that does not hold.
    pub fn not(kind: &'static str, reason: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, verdict: Verdict::False, reason, message: message.into() }
    }

    /// Whether it holds.
    pub fn holds(&self) -> bool {
        self.verdict == Verdict::True
    }
}
