//! What is wrong in a file, with the place and a caret.
//!
//! A line of a document that may hold a key is never shown (design, invariant 5).

use std::{fmt, ops::Range, sync::Arc};

use serde::Serialize;

use super::kinds::ObjectId;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document, or the file, is not used as it stands.
    Error,
    /// It is used, or was never meant for Isthmus.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file, as it was given.
    pub file: Arc<str>,
    /// The place in it; none when the file as a whole is meant.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// The object, when it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectId>,
    /// The field, when one is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
}

/// A place in a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// How many characters the caret covers.
    #[serde(skip)]
    pub width: usize,
    /// The line, unless it may hold a secret.
    #[serde(skip)]
    pub excerpt: Option<String>,
}

impl Place {
    /// The place of `span` in `text`; the line is left out when `secret`.
    pub fn of(text: &str, span: &Range<usize>, secret: bool) -> Self {
        let start = floor(text, span.start);
        let before = text.get(..start).unwrap_or_default();
        let begin = before.rfind('\n').map_or(0, |at| at + 1);
        let line = text.get(begin..).unwrap_or_default().lines().next().unwrap_or_default();
        let column = text.get(begin..start).unwrap_or_default().chars().count();
        let covered = text.get(start..floor(text, span.end)).unwrap_or_default();
        let width = covered.lines().next().unwrap_or_default().trim_end().chars().count();
        Self {
            line: before.matches('\n').count() + 1,
            column: column + 1,
            width: width.max(1),
            excerpt: (!secret).then(|| line.trim_end_matches('\r').to_owned()),
        }
    }
}

/// The nearest character boundary at or below `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: ")?;
        if let Some(field) = &self.field {
            write!(f, "{field} ")?;
        }
        writeln!(f, "{}", self.message)?;
        let Some(place) = &self.place else {
            write!(f, "  --> {}", self.file)?;
            return self.object(f);
        };
        let gutter = place.line.to_string().len();
        write!(f, "{:gutter$}--> {}:{}:{}", "", self.file, place.line, place.column)?;
        self.object(f)?;
        if let Some(excerpt) = &place.excerpt {
            // Tabs are one column wide here, so that the caret stands below what it means.
            let line: String = excerpt.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let (pad, carets) = (" ".repeat(place.column - 1), "^".repeat(place.width));
            write!(f, "\n{:gutter$} |\n{} | {line}\n{:gutter$} | {pad}{carets}", "", place.line, "")?;
        }
        Ok(())
    }
}

impl Diagnostic {
    fn object(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.object.as_ref().map_or(Ok(()), |object| write!(f, " ({object})"))
    }
}
