//! Statuses without what differs by nature.

use serde_json::Value;

/// What only Gateways have that have objects of their own that run them.
const OF_CLUSTERS: &str = "GatewayInfrastructure";
/// Addresses are those of a machine, or of a load balancer; times are those of a write.
const OF_A_PLACE: &[&str] = &["addresses", "lastTransitionTime"];

/// Whether nobody has said anything yet: nothing is there, or the defaults of a definition.
pub(crate) fn is_unclaimed(status: &Value) -> bool {
    let conditions = status["conditions"].as_array();
    let unknown = |conditions: &Vec<Value>| conditions.iter().all(|c| c["status"] == "Unknown");
    status.is_null() || (status.get("parents").is_none() && conditions.is_none_or(unknown))
}

/// A status without what differs by nature.
pub(crate) fn comparable(status: &Value) -> Value {
    match status {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !OF_A_PLACE.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), comparable(value)))
            .collect(),
        Value::Array(items) => {
            items.iter().filter(|item| item["name"] != OF_CLUSTERS).map(comparable).collect()
        }
        other => other.clone(),
    }
}
