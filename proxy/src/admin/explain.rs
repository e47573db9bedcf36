//! Why a request goes where it goes: the matcher that serves, traced, on the tables in force, and what this
//! proxy knows of the backends that it could go to.

use isthmus_ir::{
    BackendTarget,
    matcher::{
        Decision,
        explain::{Question, explain, location},
    },
};
use serde_json::{Value, json};

use crate::{Proxy, balance::ServiceState, plan::Backend, snapshot::Snapshot};

/// Matches of other rules that are listed at most.
const OTHERS: usize = 50;

/// The answer to `method=..&url=..&header=name:value..`, as JSON: an explanation for each socket that the
/// URL could mean.
///
/// # Errors
/// What is wrong with the question.
pub(super) fn render(proxy: &Proxy, query: &[u8]) -> Result<String, String> {
    let question = question(query)?;
    let snapshot = proxy.snapshot();
    let mut answers = Vec::new();
    for group in question.groups(&snapshot.tables) {
        let (explanation, decision) = explain(group, question.connection(), &question, OTHERS);
        let bind = group.bind();
        let mut answer = json!({
            "socket": { "address": bind.address, "port": bind.port },
            "explanation": explanation,
        });
        if let Decision::Route(winner) = decision {
            let backends = winner.payload.backends.iter().zip(&winner.rule.backends);
            let backends = backends.map(|(plan, backend)| backend_of(&snapshot, plan, backend));
            if let Value::Object(answer) = &mut answer {
                answer.insert("filters".to_owned(), json!(winner.rule.filters));
                answer.insert("timeouts".to_owned(), json!(winner.rule.timeouts));
                answer.insert("backends".to_owned(), backends.collect());
                if let Some(location) = location(&winner, question.connection(), &question) {
                    answer.insert("location".to_owned(), location.into());
                }
            }
        }
        answers.push(answer);
    }
    serde_json::to_string_pretty(&json!({ "answers": answers })).map_err(|error| error.to_string())
}

fn question(query: &[u8]) -> Result<Question, String> {
    let mut method = "GET".to_owned();
    let mut url = None;
    let mut headers = Vec::new();
    for pair in query.split(|&b| b == b'&') {
        let at = pair.iter().position(|&b| b == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(at);
        let value = decoded(value.get(1..).unwrap_or_default())?;
        match name {
            b"method" => method = value,
            b"url" => url = Some(value),
            b"header" => headers.push(value),
            _ => return Err("the question has method=, url= and header=".to_owned()),
        }
    }
    let url = url.ok_or("url= is missing")?;
    let headers = headers
        .iter()
        .map(|text| text.split_once(':').ok_or_else(|| format!("{text:?} is no header: name:value")))
        .collect::<Result<Vec<_>, _>>()?;
    Question::new(&method, &url, headers).map_err(|error| error.to_string())
}

/// Takes percent-encoding away.
fn decoded(text: &[u8]) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|&d| char::from(d).to_digit(16));
                let (high, low) = (digit(), digit());
                let value = high.zip(low).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                value.ok_or("'%' is followed by two hexadecimal digits")?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

fn backend_of(snapshot: &Snapshot, plan: &Backend, backend: &isthmus_ir::Backend) -> Value {
    let service = plan.service.and_then(|slot| snapshot.service(slot));
    let (name, reason) = match &backend.target {
        BackendTarget::Service(name) => (Some(name), None),
        BackendTarget::Invalid { reason } => (None, Some(reason)),
    };
    json!({
        "weight": backend.weight,
        "service": name,
        "reason": reason,
        "filters": backend.filters,
        "endpoints": service.map(|service| endpoints_of(service)),
    })
}

fn endpoints_of(service: &ServiceState) -> Vec<Value> {
    service
        .endpoints
        .iter()
        .map(|endpoint| {
            json!({
                "id": endpoint.spec.id,
                "cluster": endpoint.spec.cluster,
                "zone": endpoint.spec.zone,
                "priority": endpoint.spec.priority,
                "weight": endpoint.spec.weight,
                "state": endpoint.spec.state,
                "up": endpoint.is_up(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{decoded, question};

    #[test]
    fn questions_are_read_out_of_queries() {
        assert_eq!(decoded(b"a%20b+c%2F").as_deref(), Ok("a b c/"));
        assert!(decoded(b"%2").is_err());
        assert!(question(b"method=GET&url=http%3A%2F%2Fa.test%2Fx&header=x-a:b").is_ok());
        assert!(question(b"method=GET").is_err());
        assert!(question(b"url=http%3A%2F%2Fa.test%2F&header=nothing").is_err());
    }
}
