//! How answers are printed. Nothing else writes to standard output.

pub(crate) mod columns;
mod table;
pub(crate) mod value;

use std::io::{BufWriter, Write as _, stdout};

use clap::{Args, ValueEnum};
use serde::Serialize;

pub(crate) use table::Table;

use crate::failure::Failure;

/// `-o json`, for commands that have no other format.
#[derive(Args)]
pub(crate) struct JsonOnly {
    /// Format, for programs.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Json>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Json {
    Json,
}

impl JsonOnly {
    pub(crate) fn is_json(&self) -> bool {
        self.output.is_some()
    }
}

/// Prints `value` as JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut out = BufWriter::new(stdout().lock());
    serde_json::to_writer_pretty(&mut out, value)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Prints `values` as YAML documents.
pub(crate) fn print_yaml<T: Serialize>(values: &[T]) -> Result<(), Failure> {
    let mut text = String::new();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            text.push_str("---\n");
        }
        text.push_str(&yaml(value)?);
    }
    print(&text)
}

/// Prints text as it is.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn yaml(value: &impl Serialize) -> Result<String, Failure> {
    let options = serde_saphyr::ser_options! {
        // Long lines stay whole, as kubectl has them, so that they can be searched for.
        folded_wrap_chars: usize::MAX,
    };
    let mut text = String::new();
    serde_saphyr::to_fmt_writer_with_options(&mut text, value, options)
        .map_err(|error| Failure::Internal(error.to_string()))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}
