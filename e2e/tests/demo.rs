//! Runs the whole tour, as `make demo` does, and holds it to its own bounds.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::process::{Command, Stdio};

use isthmus_e2e::programs;
use serde_json::Value;

#[test]
fn two_clusters_fail_over_and_come_back_under_load() {
    let output = Command::new(programs().join("isthmus"))
        .args(["demo", "-o", "json"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the demo ended with {}:\n{printed}\n{said}", output.status);

    let tour: Value = serde_json::from_str(&printed).unwrap();
    let steps = tour["steps"].as_array().unwrap();
    let names: Vec<_> = steps.iter().map(|step| step["name"].as_str().unwrap()).collect();
    let faults = ["east's backends killed", "west's gateway killed", "west's gateway frozen"];
    for fault in faults {
        let step = steps.iter().find(|step| step["name"] == fault);
        let step = step.unwrap_or_else(|| unreachable!("no step is called {fault:?}, only {names:?}"));
        assert!(step["takeover_ms"].is_u64(), "{step}");
    }
    for step in steps {
        // A fifth of the requests are POSTs, which nobody may send twice; all others have an answer.
        assert_eq!(step["failed"], 0, "{step}");
        assert!(step["requests"].as_u64().unwrap() > 1_000, "{step}");
        for figure in ["retried", "p50_us", "p99_us", "p999_us"] {
            assert!(step[figure].is_u64(), "{figure} of {step}");
        }
        let served = step["served_by"].as_object().unwrap().values().filter_map(Value::as_u64);
        let lost = step["failed_not_retryable"].as_u64().unwrap();
        assert_eq!(served.sum::<u64>() + lost, step["requests"].as_u64().unwrap(), "{step}");
    }
}
