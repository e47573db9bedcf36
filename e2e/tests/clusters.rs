//! Test clusters themselves: they work, nothing is left of them but the logs of what failed, and what
//! docs/test-clusters.md tells people to type does what it says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests fail by panicking, and say what a provider does not give"
)]

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Result, ensure};
use isthmus_e2e::{
    cluster::{
        self, Cluster, Clusters, Provider,
        addresses::{SETS, SetAddresses},
        built,
        claim::{self, Claim, stop_socket},
        command::{eventually, words},
    },
    programs,
};

const WITHIN: Duration = Duration::from_mins(1);

/// A server of what clusters are made of: the name server's image answers HTTP on its health port.
const WEB: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: clusters}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web, namespace: clusters}
data: {Corefile: ".:5300 {\n health :8080\n}\n"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: clusters}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: isthmus.dev/coredns:1
          imagePullPolicy: IfNotPresent
          args: [-conf, /etc/web/Corefile]
          volumeMounts: [{name: web, mountPath: /etc/web}]
      volumes: [{name: web, configMap: {name: web}}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: clusters}
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: local, namespace: clusters}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"#;

#[test]
fn clusters_serve_and_nothing_but_logs_is_left_of_them_when_a_test_fails() {
    let settings = machine_settings();
    let provider = Provider::wanted().unwrap();
    let clusters = cluster::up(2, 2).unwrap();
    for cluster in clusters.all() {
        let nodes = cluster.kubectl(&["get", "nodes", "-o", "name"]).unwrap();
        let enough = nodes.lines().count() == 2 || provider != Provider::Local;
        assert!(enough, "two nodes were asked for: {nodes}");
        cluster.load(&built::programs().unwrap().join("images.tar")).unwrap();
        cluster.apply(WEB).unwrap();
        let rollout = ["rollout", "status", "-n", "clusters", "deployment/web", "--timeout=60s"];
        cluster.kubectl(&rollout).unwrap();
    }
    let addresses: Vec<String> = clusters.all().iter().map(|one| balanced(one, "web")).collect();
    assert_ne!(addresses[0], addresses[1]);
    for address in &addresses {
        assert_eq!(eventually(WITHIN, || answer(address)).unwrap(), "OK");
        let closed: SocketAddr = format!("{address}:81").parse().unwrap();
        let refused = TcpStream::connect_timeout(&closed, Duration::from_secs(2)).unwrap_err();
        if provider == Provider::Local {
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        } else {
            eprintln!("only clusters of `local` refuse a closed port at once; this one said: {refused}");
        }
    }
    let local = balanced(&clusters.all()[0], "local");
    assert_eq!(eventually(WITHIN, || answer(&local)).unwrap(), "OK");

    if let Provider::Existing(_) = provider {
        eprintln!("clusters that were there stay, so what is left of them is not looked at");
        for cluster in clusters.all() {
            cluster.kubectl(&["delete", "namespace", "clusters"]).unwrap();
        }
        return;
    }
    let state = state(&clusters);
    fail_with(clusters);
    assert_eq!(left(&state), Vec::<String>::new());
    assert_eq!(machine_settings(), settings);
    let logs = words(&format!("find {} -name *.log -size +0", state.with_extension("failed").display()));
    let logs = logs.unwrap();
    for part in ["kubelet", "clusters_web-"] {
        assert!(logs.contains(part), "no log of {part} in {logs}");
    }
    std::fs::remove_dir_all(state.with_extension("failed")).unwrap();
}

/// Ends clusters as a test does that fails.
fn fail_with(clusters: Clusters) {
    let test = std::thread::spawn(move || {
        let _clusters = clusters;
        panic!("this is a test that fails");
    });
    test.join().unwrap_err();
}

#[test]
fn clusters_of_a_killed_owner_end_and_are_cleared() {
    let clusters = cluster::up(1, 1).unwrap();
    let Some(supervisor) = clusters.supervisor() else {
        eprintln!("clusters that were there have no owner that could be killed");
        return;
    };
    let state = state(&clusters);
    words(&format!("kill -KILL {supervisor}")).unwrap();
    drop(clusters);
    eventually(WITHIN, || {
        let running: Vec<_> =
            left(&state).into_iter().filter(|one| one.starts_with("process")).collect();
        ensure!(running.is_empty(), "{running:?}");
        Ok(())
    })
    .unwrap();
    // Another test may have its number by now, and has cleared it then.
    let number = number(&state);
    let claim = eventually(5 * WITHIN, || Claim::one_of(number..=number)).unwrap();
    assert_eq!(left(&state), Vec::<String>::new());
    drop(claim);
}

#[test]
fn what_the_page_tells_people_to_type_works() {
    if let Provider::Existing(_) = Provider::wanted().unwrap() {
        eprintln!("`make clusters` makes clusters, and those of this provider are there");
        return;
    }
    let page = std::fs::read_to_string(root().join("docs/test-clusters.md")).unwrap();
    let commands: Vec<&str> = page.split("```").nth(1).unwrap().lines().skip(1).map(typed).collect();
    assert_eq!([commands[0], commands[commands.len() - 1]], ["make clusters", "make clusters-down"]);
    // Tests are given the lowest numbers first.
    let set = (0..SETS).rev().find(|set| !claim::taken(*set).unwrap()).unwrap();
    let mut person = Person { set, told: String::new() };
    for command in commands {
        match command.split(' ').next().unwrap() {
            // What `make clusters` printed stands for them.
            "export" => {
                let name = command.trim_end_matches("...");
                assert!(person.told.contains(name), "{name} is not in {}", person.told);
            }
            "make" => {
                let printed = succeeded(&person.types(&made_by(command)));
                person.told.push_str(&printed);
            }
            _ => drop(succeeded(&person.types(&command.replace("isthmus-1", person.first_context())))),
        }
        if command == "make clusters" {
            asks_again(&person);
        }
    }
    let state = eventually(WITHIN, || Claim::one_of(set..=set)).unwrap().directory().to_owned();
    assert_eq!(left(&state), Vec::<String>::new());
    assert!(!state.with_extension("log").exists(), "the supervisor's log is left");
}

/// Who asks for clusters again is refused, and those that are up go on.
fn asks_again(person: &Person) {
    let refused = person.types(&made_by("make clusters"));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("up already"), "{said}");
    // Nor does somebody end them who only looks whether they are there.
    drop(UnixStream::connect(stop_socket(person.set)).unwrap());
    succeeded(&person.types("kubectl get --raw /readyz && isthmus --version && helm version"));
}

/// A person with a set of clusters, which goes down also when the test fails.
struct Person {
    set: u8,
    /// What the shell was told.
    told: String,
}

impl Drop for Person {
    fn drop(&mut self) {
        self.types(&format!("{}/clusters down", programs().display()));
    }
}

impl Person {
    fn types(&self, command: &str) -> Output {
        let mut shell = Command::new("bash");
        shell.arg("-euc").arg(format!("{}\n{command}", self.told));
        shell.env("ISTHMUS_SET", self.set.to_string()).output().unwrap()
    }

    /// How the provider calls the first cluster.
    fn first_context(&self) -> &str {
        let rest = self.told.strip_prefix("# Contexts ").unwrap();
        rest.split([',', '.']).next().unwrap()
    }
}

/// A line of the page without its comment.
fn typed(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

/// The command by which the Makefile does the very thing, after all was built.
fn made_by(command: &str) -> String {
    let target = command.strip_prefix("make ").unwrap();
    let printed = Command::new("make").args(["-n", "-C"]).arg(root()).arg(target).output().unwrap();
    let printed = succeeded(&printed);
    let last = printed.lines().find_map(|line| line.trim().strip_prefix("target/debug/clusters "));
    let last = last.unwrap_or_else(|| panic!("`{command}` does not run clusters:\n{printed}"));
    format!("{}/clusters {last}", programs().display())
}

fn succeeded(output: &Output) -> String {
    let [printed, said] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{}: {printed}{said}", output.status);
    printed.into_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The address that the load balancer gave to a service.
fn balanced(cluster: &Cluster, service: &str) -> String {
    let path = "jsonpath={.status.loadBalancer.ingress[0].ip}";
    eventually(WITHIN, || {
        let address = cluster.kubectl(&["get", "service", "-n", "clusters", service, "-o", path])?;
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

fn number(state: &Path) -> u8 {
    state.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

/// What is left of a set: files, mounts, links, routes, control groups, processes and clusters of kind.
fn left(state: &Path) -> Vec<String> {
    let name = format!("isthmus{}", number(state));
    let mut left = Vec::new();
    if state.exists() {
        left.push(format!("files {}", state.display()));
    }
    if stop_socket(number(state)).exists() {
        left.push("stop socket".to_owned());
    }
    if std::fs::read_to_string("/proc/mounts").unwrap().contains(state.to_str().unwrap()) {
        left.push("mounts".to_owned());
    }
    if Path::new("/sys/class/net").join(&name).exists() {
        left.push("link".to_owned());
    }
    let routes = words(&format!("ip route show root {}", SetAddresses(number(state)).all())).unwrap();
    left.extend(routes.lines().map(|route| format!("route {route}")));
    // One hierarchy, or in version 1 one for each controller.
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(root).unwrap().flatten().map(|one| one.path());
    left.extend(
        hierarchies
            .chain([root.to_owned()])
            .map(|one| one.join(&name))
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
    if Provider::wanted().unwrap() == Provider::Kind {
        let clusters = words("kind get clusters").unwrap();
        let ours = clusters.lines().filter(|one| one.starts_with(&format!("{name}-")));
        left.extend(ours.map(|one| format!("cluster {one}")));
    }
    left
}

/// Settings of the whole machine that Kubernetes is known to change.
fn machine_settings() -> Vec<String> {
    let names = [
        "vm/overcommit_memory",
        "vm/panic_on_oom",
        "kernel/panic",
        "kernel/panic_on_oops",
        "kernel/keys/root_maxkeys",
        "kernel/keys/root_maxbytes",
        "net/ipv4/ip_forward",
    ];
    // Not every kernel has all of them.
    let value =
        |name: &str| std::fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap_or_default();
    names.map(|name| format!("{name} {}", value(name))).into()
}
