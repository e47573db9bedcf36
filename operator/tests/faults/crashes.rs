//! Case F6: whatever is cut, the next run ends at the same state.

use isthmus_e2e::faults::Fault;
use isthmus_operator::chart;
use serde_json::json;

use crate::bench::{Bench, State, until};

/// What happens to a mesh.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    /// There is a MeshInstall.
    Install,
    /// It asks for another version.
    Upgrade,
    /// It is deleted.
    End,
}

const PHASES: [Phase; 3] = [Phase::Install, Phase::Upgrade, Phase::End];

impl Phase {
    async fn begin(self, bench: &Bench) {
        let spec = |version: &str| json!({ "version": version, "proxy": { "replicas": 2 } });
        match self {
            Self::Install => bench.install(&spec("0.1.0")).await,
            Self::Upgrade => bench.install(&spec("0.1.999")).await,
            Self::End => bench.uninstall().await,
        }
    }
}

/// Waits until all is as it was in the end of a run without faults.
async fn reached(bench: &Bench, when: &str, wanted: &State) {
    until(when, async || difference(&bench.state().await, wanted)).await;
}

fn difference(found: &State, wanted: &State) -> Result<(), String> {
    let names = wanted.keys().chain(found.keys().filter(|name| !wanted.contains_key(*name)));
    let different = names.filter(|name| found.get(*name) != wanted.get(*name));
    let different: Vec<_> = different
        .map(|name| format!("{name}: {:?}, not {:?}", found.get(name), wanted.get(name)))
        .collect();
    if different.is_empty() { Ok(()) } else { Err(different.join("\n")) }
}

/// What there is in the end of each phase, and how many writes it takes.
async fn calm(bench: &Bench) -> [(State, usize); 3] {
    let _operator = bench.operator();
    let mut all = Vec::new();
    for phase in PHASES {
        bench.proxy.does(Fault::None);
        phase.begin(bench).await;
        match phase {
            Phase::Install => bench.told("True InForce: version 0.1.0 runs").await,
            Phase::Upgrade => bench.told("True InForce: version 0.1.999 runs").await,
            Phase::End => {}
        }
        let state = until("the state is steady", async || settled(bench, phase).await).await;
        all.push((state, bench.proxy.writes()));
    }
    all.try_into().unwrap()
}

/// The state when it is the end of a phase.
async fn settled(bench: &Bench, phase: Phase) -> Result<State, String> {
    let state = bench.state().await;
    if phase == Phase::End {
        return if state.is_empty() { Ok(state) } else { Err(format!("{:?}", state.keys())) };
    }
    let conditions = state["MeshInstall mesh"]["status"]["conditions"].as_array().unwrap();
    let waits = conditions.iter().find(|condition| condition["status"] != "True");
    waits.map_or(Ok(state.clone()), |condition| Err(condition.to_string()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_a_crash_before_any_write_ends_at_the_same_state() {
    crash_at_any_write(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_a_crash_after_any_write_ends_at_the_same_state() {
    crash_at_any_write(true).await;
}

/// Crashes at each write of each phase, which the API server has seen or not.
async fn crash_at_any_write(reached: bool) {
    let bench = Bench::new().await;
    define_with_crashes(&bench, reached).await;
    let calm = calm(&bench).await;
    let most = calm.iter().map(|(_, writes)| *writes).max().unwrap();
    assert!(most > 10, "{most} writes are no install");
    let mut crashes = 0;
    for nth in 1..=most {
        for (phase, (wanted, writes)) in PHASES.into_iter().zip(&calm) {
            if phase == Phase::Upgrade && nth > *writes {
                continue;
            }
            crashes += usize::from(crash(&bench, phase, Fault::CutWrite { nth, reached }, wanted).await);
        }
    }
    let all: usize = calm.iter().map(|(_, writes)| writes).sum();
    // How many writes there are depends on how fast things happen, a little.
    assert!(crashes * 10 > all * 7, "{crashes} crashes, of {all} that were planned");
}

/// Every write of a definition is cut when what was written counts, and the first one when it does not.
async fn define_with_crashes(bench: &Bench, reached: bool) {
    let all = chart::definitions().len();
    for _ in 0..if reached { all } else { 1 } {
        let fault = Fault::CutWrite { nth: 1, reached };
        bench.proxy.does(fault);
        let _operator = bench.operator();
        until("the write is cut", async || match bench.proxy.fault() {
            Fault::Refuse => Ok(()),
            fault => Err(format!("{fault:?}")),
        })
        .await;
    }
    if !reached {
        return;
    }
    let defined = bench.kubectl(&["get", "crd", "-o", "name"]);
    let ours = chart::definitions().into_values().map(|crd| crd["metadata"]["name"].clone());
    let missing: Vec<_> = ours.filter(|name| !defined.contains(name.as_str().unwrap())).collect();
    assert!(missing.is_empty(), "{missing:?} after as many writes as there are definitions");
}

/// A phase whose operator is killed at this write; whether it came to that.
async fn crash(bench: &Bench, phase: Phase, fault: Fault, wanted: &State) -> bool {
    bench.proxy.does(fault);
    let first = bench.operator();
    phase.begin(bench).await;
    until(&format!("{phase:?} with {fault:?}"), async || match bench.proxy.fault() {
        Fault::Refuse => Ok(()),
        _ => difference(&bench.state().await, wanted),
    })
    .await;
    drop(first);
    let cut = bench.proxy.fault() == Fault::Refuse;
    bench.proxy.does(Fault::None);
    if cut {
        let _second = bench.operator();
        reached(bench, &format!("{phase:?} after {fault:?}"), wanted).await;
    }
    cut
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_f24_a_bad_way_to_the_api_server_ends_at_the_same_state() {
    let bench = Bench::new().await;
    let calm = calm(&bench).await;
    bench.proxy.does(Fault::Storm);
    let _operator = bench.operator();
    for (phase, (wanted, _)) in PHASES.into_iter().zip(&calm) {
        phase.begin(&bench).await;
        reached(&bench, &format!("{phase:?} in a storm"), wanted).await;
    }
}
