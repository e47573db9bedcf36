//! The tour's one screen, or its JSON.

use std::io::{self, Write};

use serde_json::json;

use crate::tour::Step;

/// Prints steps as they end.
pub struct Screen {
    json: bool,
}

impl Screen {
    /// For people, or as JSON.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Before the first step.
    pub fn begin(&self, out: &mut impl Write) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        writeln!(
            out,
            "{:<28} {:>8} {:>6} {:>7} {:>8} {:>8} {:>8} {:>8}  served by",
            "step", "requests", "failed", "retried", "p50 ms", "p99 ms", "p99.9 ms", "takeover"
        )?;
        out.flush()
    }

    /// One step that has ended. What cannot be printed is not worth ending the tour for.
    pub fn step(&mut self, out: &mut impl Write, step: &Step) {
        if !self.json && print(out, step).is_err() {
            tracing::debug!(step = step.name, "the step could not be printed");
        }
    }

    /// After the last step.
    pub fn end(&self, out: &mut impl Write, steps: &[Step]) -> io::Result<()> {
        if self.json {
            let steps: Vec<_> = steps.iter().map(to_json).collect();
            return writeln!(out, "{}", json!({ "steps": steps }));
        }
        let broken = steps.iter().filter(|s| !s.broken.is_empty()).count();
        match broken {
            0 => writeln!(out, "every step kept its bounds"),
            n => writeln!(out, "{n} of {} steps broke their bounds", steps.len()),
        }
    }
}

fn print(out: &mut impl Write, step: &Step) -> io::Result<()> {
    let f = &step.figures;
    let takeover = f.takeover_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
    let served: Vec<_> = f.served_by.iter().map(|(cluster, n)| format!("{cluster} {n}")).collect();
    writeln!(
        out,
        "{:<28} {:>8} {:>6} {:>7} {:>8} {:>8} {:>8} {:>8}  {}",
        step.name,
        f.requests,
        f.failed,
        f.retried,
        millis(f.p50_us),
        millis(f.p99_us),
        millis(f.p999_us),
        takeover,
        served.join(", "),
    )?;
    if f.failed_not_retryable > 0 {
        writeln!(out, "    {} POSTs were lost with the process that held them", f.failed_not_retryable)?;
    }
    for broken in &step.broken {
        writeln!(out, "    broke its bound: {broken}")?;
    }
    for error in &f.errors {
        writeln!(out, "    {error}")?;
    }
    out.flush()
}

fn millis(us: u64) -> String {
    format!("{}.{:02}", us / 1000, us % 1000 / 10)
}

fn to_json(step: &Step) -> serde_json::Value {
    let mut value = json!(step.figures);
    if let Some(object) = value.as_object_mut() {
        object.insert("name".to_owned(), json!(step.name));
        object.insert("broken".to_owned(), json!(step.broken));
    }
    value
}
