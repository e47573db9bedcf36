//! When an instance is ready: every accepted Gateway is programmed, or its status says why it cannot be.

use std::fmt;

use serde_json::Value;

use crate::store::{Selection, Store};

/// What came of the Gateways.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Readiness {
    /// How many Gateways are of our class.
    pub gateways: usize,
    /// Those that are not programmed, with the reason.
    pub failed: Vec<(String, String)>,
    /// Those whose GatewayClass is not there, with its name: nobody serves them.
    pub unclaimed: Vec<(String, String)>,
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let programmed = self.gateways - self.failed.len();
        write!(f, "ready: {programmed} of {} gateways programmed", self.gateways)?;
        for (gateway, reason) in &self.failed {
            write!(f, "; {gateway}: {}", reason.replace('\n', " "))?;
        }
        for (gateway, class) in &self.unclaimed {
            write!(f, "; {gateway}: there is no GatewayClass {class}")?;
        }
        Ok(())
    }
}

/// What came of the Gateways; none when some are still on their way.
pub(super) fn readiness(store: &Store) -> Option<Readiness> {
    let selection = Selection {
        group: isthmus_gateway::GROUP.to_owned(),
        kind: "Gateway".to_owned(),
        ..Selection::default()
    };
    let mut ready = Readiness::default();
    for gateway in store.select(&selection) {
        // Those of other classes have no status of ours.
        let Some(status) = gateway.get("status") else {
            let class = gateway.pointer("/spec/gatewayClassName").and_then(Value::as_str);
            let missing = class.filter(|class| !store.has("GatewayClass", class));
            ready.unclaimed.extend(missing.map(|class| (name(&gateway), class.to_owned())));
            continue;
        };
        ready.gateways += 1;
        match standing(&gateway, status) {
            Standing::Pending => return None,
            Standing::Programmed => {}
            Standing::Failed(reason) => {
                ready.failed.push((name(&gateway), reason));
            }
        }
    }
    Some(ready)
}

fn name(gateway: &Value) -> String {
    let field = |name: &str| {
        gateway.pointer(&format!("/metadata/{name}")).and_then(Value::as_str).unwrap_or_default()
    };
    format!("{}/{}", field("namespace"), field("name"))
}

enum Standing {
    Pending,
    Programmed,
    Failed(String),
}
fn standing(gateway: &Value, status: &Value) -> Standing {
    let generation = gateway.pointer("/metadata/generation").and_then(Value::as_i64);
    match (condition(status, "Accepted"), condition(status, "Programmed")) {
        (Some(accepted), _) if field(accepted, "status") != "True" => Standing::Failed(reason(accepted)),
        (Some(_), Some(programmed)) => {
            let observed = programmed.get("observedGeneration").and_then(Value::as_i64);
            match field(programmed, "status") {
                "True" if observed == generation => Standing::Programmed,
                "False" if field(programmed, "reason") != "Pending" => {
                    Standing::Failed(reason(programmed))
                }
                _ => Standing::Pending,
            }
        }
        _ => Standing::Pending,
    }
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status.get("conditions")?.as_array()?.iter().find(|condition| field(condition, "type") == kind)
}

fn field<'a>(condition: &'a Value, name: &str) -> &'a str {
    condition.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn reason(condition: &Value) -> String {
    format!("{}: {}", field(condition, "reason"), field(condition, "message"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::readiness;
    use crate::{
        files::{kinds::ObjectId, set::Edit},
        store::Store,
    };

    fn store(gateways: &[(&str, Value)]) -> Store {
        let mut store = Store::default();
        for (name, status) in gateways {
            let id = ObjectId {
                group: isthmus_gateway::GROUP.to_owned(),
                kind: "Gateway".to_owned(),
                namespace: "shop".to_owned(),
                name: (*name).to_owned(),
            };
            let metadata = json!({"namespace": "shop", "name": name, "generation": 2});
            store.edit(&Edit::Upsert(id.clone(), json!({"kind": "Gateway", "metadata": metadata})));
            store.set_status(id, Some(status.clone()).filter(|s| !s.is_null()), "now");
        }
        store
    }

    fn status(accepted: &str, programmed: &str, reason: &str, generation: i64) -> Value {
        json!({"conditions": [
            {"type": "Accepted", "status": accepted, "reason": reason, "message": "m"},
            {"type": "Programmed", "status": programmed, "reason": reason, "message": "m",
                "observedGeneration": generation},
        ]})
    }

    fn line(gateways: &[(&str, Value)]) -> Option<String> {
        readiness(&store(gateways)).map(|ready| ready.to_string())
    }

    #[test]
    fn gateways_are_ready_when_programmed_or_told_why_not() {
        let done = || ("a", status("True", "True", "Programmed", 2));
        assert_eq!(line(&[]).unwrap(), "ready: 0 of 0 gateways programmed");
        assert_eq!(
            line(&[done(), ("other", Value::Null)]).unwrap(),
            "ready: 1 of 1 gateways programmed"
        );
        assert_eq!(line(&[done(), ("b", status("True", "False", "Pending", 2))]), None);
        assert_eq!(line(&[("b", status("True", "True", "Programmed", 1))]), None);
        assert_eq!(line(&[("b", status("True", "Unknown", "Waiting", 2))]), None);
        let failed = [done(), ("b", status("True", "False", "AddressNotUsable", 2))];
        let expected = "ready: 1 of 2 gateways programmed; shop/b: AddressNotUsable: m";
        assert_eq!(line(&failed).unwrap(), expected);
        let refused = [("b", status("False", "False", "Invalid", 2))];
        let expected = "ready: 0 of 1 gateways programmed; shop/b: Invalid: m";
        assert_eq!(line(&refused).unwrap(), expected);
    }
}
