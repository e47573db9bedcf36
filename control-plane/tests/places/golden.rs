//! The golden cases of Gateway API on a real API server, under a control plane: the statuses that people
//! read there, and what proxies are told, are those of a directory.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use isthmus_ir::{Name, Resource};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    case::{self, Case},
    cluster::Cluster,
    directory, server, statuses,
};

/// How long statuses and resources may take on a busy machine.
const SETTLED: Duration = Duration::from_secs(30);

/// Cases of what Gateways have in common on one machine, and not in pods: ports.
const OF_A_MACHINE: &[&str] = &["gateway-port-taken"];
/// What of listeners and routes is another thing in each place: the addresses that a proxy binds, and the
/// time at which an API server, or a directory, first saw an object.
const OF_A_PLACE: &[&str] = &["addresses", "created"];

/// What objects led to: statuses by kind and name, and resources by scope.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) statuses: BTreeMap<String, Value>,
    pub(crate) ir: BTreeMap<Name, BTreeMap<String, Value>>,
}

/// A resource by kind and name, without what differs by nature.
pub(crate) fn shown(resource: &Resource) -> (String, Value) {
    let key = resource.key();
    let mut value = match resource {
        Resource::Listener(r) => json!(**r),
        Resource::Route(r) => json!(**r),
        Resource::Handle(r) => json!(**r),
        Resource::Service(r) => json!(**r),
        Resource::Endpoints(r) => json!(**r),
        Resource::Peer(r) => json!(**r),
        Resource::Certificate(r) => json!(format!("{r:?}")),
        Resource::TrustBundle(r) => json!([r.trust_domain, r.roots.len()]),
    };
    if let (Some(fields), Resource::Listener(_) | Resource::Route(_)) = (value.as_object_mut(), resource)
    {
        fields.retain(|name, _| !OF_A_PLACE.contains(&name.as_str()));
    }
    (format!("{} {}", key.kind.as_str(), key.name), value)
}

/// Makes all namespaces, then all objects that are the oldest of their case, then the next ones in a later
/// second, for that is how API servers count. Leaves out of the cases what the API server refuses.
async fn make(cluster: &Cluster, cases: &mut [Case]) {
    let namespaces: BTreeSet<String> = cases.iter().flat_map(namespaces).collect();
    for name in namespaces {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        server::apply(&cluster.client, &namespace).await.unwrap();
    }
    let ages: BTreeSet<String> = cases.iter().flat_map(|case| &case.objects).map(age).collect();
    for (index, now) in ages.iter().enumerate() {
        if index > 0 {
            // Only the clock can make one second of two.
            sleep(Duration::from_millis(1100)).await;
        }
        for case in &mut *cases {
            let mut taken = Vec::new();
            for object in std::mem::take(&mut case.objects) {
                if age(&object) != *now {
                    taken.push(object);
                    continue;
                }
                match server::apply(&cluster.client, &object).await {
                    Ok(_) => taken.push(object),
                    Err(why) => {
                        let here = directory::takes(&object);
                        assert!(
                            here.is_err(),
                            "{}: the API server alone refuses {object}: {why}",
                            case.name
                        );
                    }
                }
            }
            case.objects = taken;
        }
    }
    for case in cases {
        // Of several versions that were taken the last one stands.
        let identity = |object: &Value| {
            let metadata = &object["metadata"];
            json!([object["kind"], metadata["namespace"], metadata["name"]]).to_string()
        };
        let last: BTreeMap<_, _> =
            case.objects.drain(..).map(|object| (identity(&object), object)).collect();
        case.objects = last.into_values().collect();
    }
}

fn age(object: &Value) -> String {
    case::created(object).unwrap_or("young").to_owned()
}

/// The namespaces of a case that none of its objects is.
fn namespaces(case: &Case) -> BTreeSet<String> {
    let all =
        |field: fn(&Value) -> Option<&str>| case.objects.iter().filter_map(field).map(str::to_owned);
    let declared: BTreeSet<_> =
        all(|object| object["metadata"]["name"].as_str().filter(|_| object["kind"] == "Namespace"))
            .collect();
    all(|object| object["metadata"]["namespace"].as_str())
        .filter(|name| !declared.contains(name))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn golden_cases_mean_the_same_in_a_directory_and_in_a_cluster() {
    let mut cases = case::all();
    cases.retain(|case| !OF_A_MACHINE.contains(&case.name.as_str()));
    let mut cluster = Cluster::start("experimental").await;
    make(&cluster, &mut cases).await;
    for gateway in
        cases.iter().flat_map(|case| &case.objects).filter(|object| object["kind"] == "Gateway")
    {
        cluster.expose(gateway).await;
    }
    let authority = cluster.authority().await;
    let wanted: Vec<Told> = cases.iter().map(|case| directory::told(case, &authority.roots())).collect();
    cluster.serve(wanted.iter().flat_map(|told| told.ir.keys().cloned()), &authority).await;
    assert!(wanted.iter().map(|told| told.statuses.len()).sum::<usize>() > 60, "statuses are compared");
    let deadline = Instant::now() + SETTLED;
    let mut different;
    loop {
        let statuses = cluster.statuses().await;
        different = cases
            .iter()
            .zip(&wanted)
            .filter_map(|(case, wanted)| {
                Some((&case.name, difference(&cluster, case, &statuses, wanted)?))
            })
            .collect::<BTreeMap<_, _>>();
        if different.is_empty() || Instant::now() > deadline {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let log = cluster.control_plane.log();
    assert!(different.is_empty(), "{} cases differ: {different:#?}\n{log}", different.len());
}

/// How what a cluster says differs from what a directory says.
fn difference(
    cluster: &Cluster,
    case: &Case,
    statuses: &BTreeMap<String, Value>,
    wanted: &Told,
) -> Option<String> {
    let said = |object: &Value| {
        let name = name(object)?;
        let status = statuses.get(&name).filter(|status| !statuses::is_unclaimed(status))?.clone();
        Some((name, status))
    };
    let there: BTreeMap<_, _> = case.objects.iter().filter_map(said).collect();
    let ir: BTreeMap<_, _> = wanted.ir.keys().map(|scope| (scope.clone(), cluster.ir(scope))).collect();
    let there = Told { statuses: there, ir };
    (there != *wanted).then(|| {
        let (here, there) =
            (json!([wanted.statuses, names(&wanted.ir)]), json!([there.statuses, names(&there.ir)]));
        crate::corpus::unequal("", &here, &there)
    })
}

/// What an object with a status is called there.
fn name(object: &Value) -> Option<String> {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    match object["kind"].as_str()? {
        "GatewayClass" => Some(format!("GatewayClass {}", text("name"))),
        kind @ ("Gateway" | "HTTPRoute") => {
            Some(format!("{kind} {}/{}", text("namespace"), text("name")))
        }
        _ => None,
    }
}

fn names(ir: &BTreeMap<Name, BTreeMap<String, Value>>) -> Value {
    ir.iter().map(|(scope, resources)| (scope.to_string(), json!(resources))).collect()
}
