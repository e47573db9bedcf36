//! `isthmus validate`: every error of manifests.

use std::fmt::Write as _;

use clap::Args;
use isthmus_control_plane::files::diagnostic::Severity;
use serde_json::json;

use super::Files;
use crate::{
    failure::Failure,
    manifests::Manifests,
    output::{JsonOnly, print, print_json},
};

/// Check manifests as an API server would; exits with 1 when there is an error.
#[derive(Args)]
pub(crate) struct Validate {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    output: JsonOnly,
}

impl Validate {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let mut manifests = Manifests::read(self.files.paths())?;
        // Translated too, for an object may have what its rules allow and what cannot be read all the same.
        manifests.translate();
        let valid = manifests.are_valid();
        if self.output.is_json() {
            print_json(&json!({"valid": valid, "diagnostics": manifests.diagnostics}))?;
        } else {
            print(&text(&manifests))?;
        }
        if valid { Ok(()) } else { Err(Failure::Invalid(String::new())) }
    }
}

fn text(manifests: &Manifests) -> String {
    let mut text = String::new();
    for diagnostic in &manifests.diagnostics {
        let _ = writeln!(text, "{diagnostic}\n");
    }
    let of = |severity| manifests.diagnostics.iter().filter(|d| d.severity == severity).count();
    let counted = |count: usize, what: &str| match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    let _ = writeln!(text, "{}, {}", counted(errors, "error"), counted(warnings, "warning"));
    text
}
