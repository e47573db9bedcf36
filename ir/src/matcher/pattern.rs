//! Regular expressions in routes: which are allowed, and what they mean.
//!
//! The dialect is that of the `regex` crate, which runs in time linear in the value. An expression is
//! matched against the whole value, on bytes: `.` is any byte, `\w` and its like are ASCII, so that there
//! is no charset to disagree about. What would take much memory is refused when tables are built.

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::{
    ParserBuilder,
    hir::{Hir, literal::Extractor},
};

/// The longest expression in bytes; the longest that Gateway API admits.
const LONGEST: usize = 4096;
/// How deep groups may nest.
const DEEPEST: u32 = 64;
/// Bytes that a compiled expression may take.
const PROGRAM: usize = 256 << 10;
/// Bytes that one thread may spend to run it fast.
const CACHE: usize = 512 << 10;

/// A compiled regular expression over a whole value.
#[derive(Debug)]
pub struct Pattern {
    regex: Regex,
    /// Every value that matches begins with it.
    literal: Box<[u8]>,
}

/// Why a text is no expression that a route may have.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPattern {
    /// Longer than 4096 bytes.
    #[error("the regular expression is longer than 4096 bytes")]
    Long,
    /// Not of the dialect.
    #[error("the regular expression is invalid: {0}")]
    Syntax(String),
    /// It would take too much memory.
    #[error("the regular expression is too large when compiled")]
    Large,
}

impl Pattern {
    /// Compiles `text`. Whoever validates routes calls this too, so that what was accepted compiles.
    ///
    /// # Errors
    /// See [`BadPattern`].
    ///
    /// ```
    /// use isthmus_ir::matcher::Pattern;
    /// let pattern = Pattern::new("/v[0-9]+(/.*)?").unwrap();
    /// assert!(pattern.matches(b"/v2/x") && !pattern.matches(b"/api/v2"));
    /// ```
    pub fn new(text: &str) -> Result<Self, BadPattern> {
        if text.len() > LONGEST {
            return Err(BadPattern::Long);
        }
        // Alone first: `a)|(b` would be fine inside of a group.
        let parsed = parse(text)?;
        let regex = RegexBuilder::new(&format!(r"\A(?:{text})\z"))
            .unicode(false)
            .dot_matches_new_line(true)
            .nest_limit(DEEPEST + 2)
            .size_limit(PROGRAM)
            .dfa_size_limit(CACHE)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => BadPattern::Large,
                other => syntax(&other),
            })?;
        let literal =
            Extractor::new().extract(&parsed).longest_common_prefix().unwrap_or_default().into();
        Ok(Self { regex, literal })
    }

    /// Whether all of `value` is matched.
    pub fn matches(&self, value: &[u8]) -> bool {
        value.starts_with(&self.literal) && self.regex.is_match(value)
    }
}

fn parse(text: &str) -> Result<Hir, BadPattern> {
    ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .dot_matches_new_line(true)
        .nest_limit(DEEPEST)
        .build()
        .parse(text)
        .map_err(|error| syntax(&error))
}

/// The last line of the message; those before it draw the expression.
fn syntax(error: &dyn std::error::Error) -> BadPattern {
    let text = error.to_string();
    let last = text.lines().next_back().unwrap_or_default();
    BadPattern::Syntax(last.strip_prefix("error: ").unwrap_or(last).to_owned())
}
