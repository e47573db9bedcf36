//! Real processes: a shell script stands in for the proxy.

use std::{os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};

use isthmus_xds::server::{Authenticate as _, Caller, Proxy, Role};
use tokio::time::timeout;

use super::{Config, Process, Processes, Supervisor};
use crate::{
    state_dir::StateDir,
    tokens::{Bearer, Tokens},
};

/// Says who it is in `$2/told`, ends with code 7 when `$2/die` is there, and drains when asked.
const PROXY: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do case $1 in --state-dir) dir=$2;; esac; shift; done
trap 'echo drained > "$dir/drained"; exit 0' TERM
echo "$ISTHMUS_PROXY_TOKEN" > "$dir/told.new"; mv "$dir/told.new" "$dir/told"
[ -e "$dir/stubborn" ] && trap '' TERM
while [ -d "$dir" ] && [ ! -e "$dir/die" ]; do sleep 0.02; done
rm "$dir/die"; exit 7
"#;

struct Bench {
    directory: tempfile::TempDir,
    state: Arc<StateDir>,
    tokens: Tokens,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("proxy");
        std::fs::write(&program, PROXY).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let state = Arc::new(StateDir::open(&directory.path().join("state")).unwrap());
        Self { directory, state, tokens: Tokens::default() }
    }

    fn supervisor(&self) -> Supervisor {
        Supervisor::new(Config {
            program: self.directory.path().join("proxy"),
            control: self.directory.path().join("xds.sock"),
            state: self.state.clone(),
            tokens: self.tokens.clone(),
        })
    }
}

fn bearer(scope: &str) -> Bearer {
    let proxy = Proxy { id: scope.into(), scope: scope.into(), role: Role::Ingress };
    Bearer { proxy, identity: "spiffe://east.example/ns/shop/sa/edge".parse().unwrap() }
}

async fn until(processes: &Processes, found: impl Fn(Option<&Process>) -> bool) -> Option<Process> {
    let mut all = processes.subscribe();
    let seen = all.wait_for(|all| found(all.values().next()));
    let seen = timeout(Duration::from_secs(20), seen).await.unwrap().unwrap();
    seen.values().next().cloned()
}

/// What a proxy wrote down, as soon as it is there.
async fn told(process: &Process, name: &str) -> String {
    let path = process.admin.with_file_name(name);
    timeout(Duration::from_secs(20), async {
        loop {
            if let Ok(text) = std::fs::read_to_string(&path) {
                return text.trim().to_owned();
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap()
}

async fn admitted(tokens: &Tokens, token: &str) -> bool {
    let extensions = http::Extensions::new();
    tokens.authenticate(Caller { bearer: Some(token), extensions: &extensions }).await.is_ok()
}

fn touch(process: &Process, name: &str) {
    std::fs::write(process.admin.with_file_name(name), "").unwrap();
}

fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn a_proxy_that_dies_is_started_again_with_another_token() {
    let bench = Bench::new();
    let mut supervisor = bench.supervisor();
    let processes = supervisor.processes();
    supervisor.want(bearer("gateway/shop/edge"));
    let first = until(&processes, |p| p.is_some_and(|p| p.pid.is_some())).await.unwrap();
    let token = told(&first, "told").await;
    assert!(admitted(&bench.tokens, &token).await);
    std::fs::remove_file(first.admin.with_file_name("told")).unwrap();
    touch(&first, "die");
    let second = until(&processes, |p| p.is_some_and(|p| p.restarts == 1 && p.pid.is_some())).await;
    let second = second.unwrap();
    assert_ne!(first.pid, second.pid);
    assert_eq!(second.last_exit.as_deref(), Some("it ended with code 7"));
    assert!(!admitted(&bench.tokens, &token).await);
    let token = told(&second, "told").await;
    assert!(admitted(&bench.tokens, &token).await);
    supervisor.stop(std::future::pending()).await;
    assert_eq!(told(&second, "drained").await, "drained");
    assert!(!alive(second.pid.unwrap()) && !admitted(&bench.tokens, &token).await);
    assert_eq!(processes.list(), vec![]);
}

#[tokio::test]
async fn a_proxy_that_is_no_longer_wanted_drains() {
    let bench = Bench::new();
    let mut supervisor = bench.supervisor();
    let processes = supervisor.processes();
    supervisor.want(bearer("gateway/shop/edge"));
    supervisor.want(bearer("gateway/shop/edge"));
    let process = until(&processes, |p| p.is_some_and(|p| p.pid.is_some())).await.unwrap();
    told(&process, "told").await;
    supervisor.unwant(&"gateway/shop/edge".into());
    until(&processes, |p| p.is_none()).await;
    assert_eq!(told(&process, "drained").await, "drained");
    supervisor.stop(std::future::pending()).await;
}

#[tokio::test]
async fn in_a_hurry_a_proxy_that_does_not_drain_is_killed() {
    let bench = Bench::new();
    let mut supervisor = bench.supervisor();
    let processes = supervisor.processes();
    supervisor.want(bearer("gateway/shop/edge"));
    let process = until(&processes, |p| p.is_some_and(|p| p.pid.is_some())).await.unwrap();
    // Made to ignore the signal from its next start on.
    touch(&process, "stubborn");
    told(&process, "told").await;
    touch(&process, "die");
    let process = until(&processes, |p| p.is_some_and(|p| p.restarts == 1 && p.pid.is_some())).await;
    let process = process.unwrap();
    timeout(Duration::from_secs(5), supervisor.stop(std::future::ready(()))).await.unwrap();
    assert!(!alive(process.pid.unwrap()));
}

#[tokio::test]
async fn e2_a_proxy_outlives_its_control_plane_and_is_taken_over() {
    let bench = Bench::new();
    let mut supervisor = bench.supervisor();
    let processes = supervisor.processes();
    supervisor.want(bearer("gateway/shop/edge"));
    let first = until(&processes, |p| p.is_some_and(|p| p.pid.is_some())).await.unwrap();
    let token = told(&first, "told").await;
    // The control plane is gone without a word; so are its tokens.
    drop(supervisor);
    bench.tokens.revoke(&first.name);
    assert!(alive(first.pid.unwrap()));
    let mut supervisor = bench.supervisor();
    supervisor.want(bearer("gateway/shop/edge"));
    let processes = supervisor.processes();
    let second = until(&processes, |p| p.is_some_and(|p| p.pid.is_some())).await.unwrap();
    assert_eq!(first.pid, second.pid);
    assert!(admitted(&bench.tokens, &token).await);
    // One that nothing asks for any more is ended.
    drop(supervisor);
    let mut supervisor = bench.supervisor();
    supervisor.end_strays();
    supervisor.stop(std::future::pending()).await;
    assert_eq!(told(&first, "drained").await, "drained");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_said_and_tried_again() {
    let bench = Bench::new();
    std::fs::remove_file(bench.directory.path().join("proxy")).unwrap();
    let mut supervisor = bench.supervisor();
    let processes = supervisor.processes();
    supervisor.want(bearer("gateway/shop/edge"));
    let process = until(&processes, |p| p.is_some_and(|p| p.last_exit.is_some())).await.unwrap();
    assert!(process.last_exit.unwrap().starts_with("it could not be started"));
    supervisor.stop(std::future::pending()).await;
}
