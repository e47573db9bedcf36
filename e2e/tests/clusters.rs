//! Test clusters themselves: they work, and nothing is left of them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, ensure};
use isthmus_e2e::cluster::{self, Cluster, Clusters, command::eventually};

const WITHIN: Duration = Duration::from_mins(1);

/// A server that a cluster has anyway: the name server's image answers HTTP on its health port.
const WEB: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: web, namespace: default}
data: {Corefile: ".:5300 {\n health :8080\n}\n"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: isthmus.dev/coredns:1
          imagePullPolicy: Never
          args: [-conf, /etc/web/Corefile]
          volumeMounts: [{name: web, mountPath: /etc/web}]
      volumes: [{name: web, configMap: {name: web}}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: local, namespace: default}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"#;

#[test]
fn clusters_serve_and_nothing_is_left_of_them() {
    let settings = machine_settings();
    let clusters = cluster::up(2, 2).unwrap();
    let state = state(&clusters);
    for cluster in clusters.all() {
        let nodes = cluster.kubectl(&["get", "nodes", "-o", "name"]).unwrap();
        assert_eq!(nodes.lines().count(), 2, "{nodes}");
        cluster.apply(WEB).unwrap();
        cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]).unwrap();
    }
    let addresses: Vec<String> = clusters.all().iter().map(|one| balanced(one, "web")).collect();
    assert_ne!(addresses[0], addresses[1]);
    for address in &addresses {
        assert_eq!(eventually(WITHIN, || answer(address)).unwrap(), "OK");
        let closed: SocketAddr = format!("{address}:81").parse().unwrap();
        let refused = TcpStream::connect_timeout(&closed, Duration::from_secs(2)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
    let local = balanced(&clusters.all()[0], "local");
    assert_eq!(eventually(WITHIN, || answer(&local)).unwrap(), "OK");

    drop(clusters);
    assert_eq!(left(&state), Vec::<String>::new());
    assert_eq!(machine_settings(), settings);
}

#[test]
fn clusters_of_a_killed_owner_end_and_are_cleared() {
    let clusters = cluster::up(1, 1).unwrap();
    let state = state(&clusters);
    let supervisor = clusters.supervisor().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-KILL", &supervisor]).status().unwrap().success());
    drop(clusters);
    eventually(WITHIN, || {
        let running: Vec<_> =
            left(&state).into_iter().filter(|one| one.starts_with("process")).collect();
        ensure!(running.is_empty(), "{running:?}");
        Ok(())
    })
    .unwrap();
    // Its number is the lowest free one, so the next set clears it.
    let next = cluster::up(1, 1).unwrap();
    let reused = self::state(&next);
    drop(next);
    if reused == state {
        assert_eq!(left(&state), Vec::<String>::new());
    }
}

/// The address that the load balancer gave to a service.
fn balanced(cluster: &Cluster, service: &str) -> String {
    let path = "jsonpath={.status.loadBalancer.ingress[0].ip}";
    eventually(WITHIN, || {
        let address = cluster.kubectl(&["get", "service", service, "-o", path])?;
        ensure!(!address.is_empty(), "no address");
        Ok(address)
    })
    .unwrap()
}

/// The body of a GET.
fn answer(address: &str) -> Result<String> {
    let to: SocketAddr = format!("{address}:80").parse()?;
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.rsplit("\r\n").next().unwrap_or_default().to_owned())
}

/// Where a set keeps its state; the last part is its number.
fn state(clusters: &Clusters) -> PathBuf {
    clusters.all()[0].kubeconfig().parent().unwrap().to_owned()
}

/// What is left of a set: files, mounts, links, control groups and processes.
fn left(state: &Path) -> Vec<String> {
    let name = format!("isthmus{}", state.file_name().unwrap().to_str().unwrap());
    let mut left = Vec::new();
    if state.exists() {
        left.push(format!("files {}", state.display()));
    }
    if std::fs::read_to_string("/proc/mounts").unwrap().contains(state.to_str().unwrap()) {
        left.push("mounts".to_owned());
    }
    if Path::new("/sys/class/net").join(&name).exists() {
        left.push("link".to_owned());
    }
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    left.extend(
        hierarchies
            .map(|one| one.path().join(&name))
            .filter(|path| path.exists())
            .map(|path| format!("control group {}", path.display())),
    );
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let groups = std::fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
        let words = std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        if groups.contains(&format!("/{name}/")) || words.contains(&format!("{}/", state.display())) {
            left.push(format!("process {}", words.replace('\0', " ")));
        }
    }
    left
}

/// Settings of the whole machine that Kubernetes is known to change.
fn machine_settings() -> Vec<String> {
    let names = ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward"];
    names.map(|name| std::fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap()).into()
}
