//! Conditions of Multi-Cluster Services objects, without their times: whoever writes them keeps
//! `lastTransitionTime`.

use serde_json::{Value, json};

/// One entry of `status.conditions`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// `type`.
    pub kind: &'static str,
    /// `status`.
    pub status: bool,
    /// `reason`, one of the specification's, or several joined by commas where it says so.
    pub reason: String,
    /// `message`: what is wrong, with the names of object and field.
    pub message: String,
    /// `observedGeneration`.
    pub generation: i64,
}

impl Condition {
    /// The condition as an API object has it.
    pub fn to_json(&self) -> Value {
        json!({
            "type": self.kind,
            "status": if self.status { "True" } else { "False" },
            "reason": self.reason,
            "message": self.message,
            "observedGeneration": self.generation,
        })
    }
}

/// `status` of an object that has nothing in it but conditions.
pub fn status(conditions: &[Condition]) -> Value {
    json!({ "conditions": conditions.iter().map(Condition::to_json).collect::<Vec<_>>() })
}
