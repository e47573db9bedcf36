//! Brings up a set of clusters, keeps it, and takes it down. One process owns a set: every box ends with it
//! (the kernel sees to that), and what a killed one leaves behind, control groups and files, is cleared by
//! whoever claims the set's number next.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::{
    addresses::{CLUSTERS, NODES, SETS, SetAddresses},
    built, cgroup,
    command::{eventually, fed, output, words},
    pki::{self, Authority},
    sandbox::Sandbox,
    settings::{self, Node},
};
use crate::cache::cache;

/// How long a set may take to come up on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// The set that `make clusters` brings up; tests use others.
pub const PERSONS_SET: u8 = 0;

/// What to bring up.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// How many clusters.
    pub clusters: u8,
    /// How many nodes each has.
    pub nodes: u8,
    /// Whether this is the set of [`PERSONS_SET`], which runs until it is told to stop.
    pub lasting: bool,
}

/// A set that is ready, as its supervisor announces it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {
    /// Where kubectl, helm and the others are.
    pub programs: PathBuf,
    /// A kubeconfig with a context for each cluster.
    pub kubeconfig: PathBuf,
    /// The clusters.
    pub clusters: Vec<ReadyCluster>,
}

/// A cluster that is ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadyCluster {
    /// Its name, which is its context's too.
    pub name: String,
    /// A kubeconfig with this cluster alone.
    pub kubeconfig: PathBuf,
    /// The first process of each node, as the machine numbers it.
    pub nodes: Vec<i32>,
    /// An address that the load balancer gives to who asks for it, and to others last.
    pub spare_address: Ipv4Addr,
}

/// Brings up what is asked for, announces it on standard output, and takes it down when standard input
/// ends or, if lasting, when somebody connects to the stop socket.
///
/// # Errors
/// When it does not come up; then nothing is left of it.
#[allow(clippy::print_stdout, reason = "who started us reads it")]
pub fn serve(request: Request) -> Result<()> {
    if request.clusters > CLUSTERS || request.nodes > NODES || request.clusters * request.nodes == 0 {
        bail!("a set has 1 to {CLUSTERS} clusters of 1 to {NODES} nodes");
    }
    let programs = built::programs()?;
    let mut set = Set::claim(request.lasting)?;
    let ready = match set.bring_up(request, &programs) {
        Ok(ready) => ready,
        Err(error) => {
            let logs = set.keep_logs()?;
            return Err(error.context(format!("logs are in {}", logs.display())));
        }
    };
    let stop =
        request.lasting.then(|| UnixListener::bind(stop_socket(set.number)?).context("stop socket"));
    let stop = stop.transpose()?;
    println!("{}", serde_json::to_string(&ready)?);
    // Who stops a lasting set waits until this connection closes: when everything is gone.
    let _stopped = match stop {
        Some(listener) => Some(listener.accept()?),
        None => std::io::stdin().lock().read_to_end(&mut Vec::new()).map(|_| None)?,
    };
    drop(set);
    Ok(())
}

/// Where a lasting set is told to stop.
///
/// # Errors
/// When there is no place for state.
pub fn stop_socket(number: u8) -> Result<PathBuf> {
    Ok(directory(number)?.join("stop"))
}

/// Clears what a killed supervisor of the lasting set has left.
///
/// # Errors
/// When it is up after all.
pub fn clear_lasting() -> Result<()> {
    Set::claim(true).map(drop)
}

/// Where a set's state is.
fn directory(number: u8) -> Result<PathBuf> {
    Ok(cache()?.join("clusters/run").join(number.to_string()))
}

/// A set of clusters; it goes down when dropped.
struct Set {
    number: u8,
    directory: PathBuf,
    boxes: Vec<RunningBox>,
    /// Held as long as the set exists.
    _lock: File,
}

/// A box: its first process, and what keeps it.
struct RunningBox {
    keeper: Child,
    stdin: ChildStdin,
    said: BufReader<std::process::ChildStdout>,
    pid: Pid,
}

impl Set {
    /// Takes a number that nobody uses and clears what its last user may have left.
    fn claim(lasting: bool) -> Result<Self> {
        let numbers = if lasting { PERSONS_SET..=PERSONS_SET } else { PERSONS_SET + 1..=SETS - 1 };
        for number in numbers {
            let directory = directory(number)?;
            std::fs::create_dir_all(&directory)?;
            let lock = File::create(directory.with_extension("lock"))?;
            if lock.try_lock().is_ok() {
                // Its boxes end with a killed owner, but not before it.
                clear(number, &directory)?;
                std::fs::create_dir_all(&directory)?;
                return Ok(Self { number, directory, boxes: Vec::new(), _lock: lock });
            }
        }
        if lasting {
            bail!("these clusters are up already");
        }
        bail!("{SETS} sets of clusters are up")
    }

    fn bring_up(&mut self, request: Request, programs: &Path) -> Result<Ready> {
        let addresses = SetAddresses(self.number);
        let clusters: Vec<Authority> =
            (0..request.clusters).map(|_| Authority::new()).collect::<Result<_>>()?;
        self.start_router(request, &clusters, programs)?;
        let gateway = addresses.nodes().at(1);
        let mut ready = Vec::new();
        let mut kubeconfigs = Vec::new();
        for (index, authority) in (0..).zip(&clusters) {
            let name = cluster_name(index);
            let mut pids = Vec::new();
            for node in 0..request.nodes {
                let node = self.node(index, node);
                let files = node_files(&node, authority)?;
                let sandbox = settings::sandbox(&node, gateway);
                pids.push(self.start(sandbox, &files, programs)?);
            }
            let admin = authority.client("admin", Some("system:masters"))?;
            let server = addresses.cluster(index).node(0);
            let kubeconfig = authority.kubeconfig(&name, server, &admin);
            let path = self.directory.join(format!("{name}.kubeconfig"));
            write_private(&path, &kubeconfig.to_string())?;
            kubeconfigs.push(kubeconfig);
            ready.push(ReadyCluster {
                name,
                kubeconfig: path,
                spare_address: addresses.cluster(index).balanced().at(4000),
                nodes: pids.iter().map(|pid| pid.as_raw_nonzero().get()).collect(),
            });
        }
        let kubeconfig = self.directory.join("kubeconfig");
        write_private(&kubeconfig, &pki::merged(&kubeconfigs).to_string())?;
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..)
                .zip(&ready)
                .map(|(index, cluster)| {
                    let addresses = addresses.cluster(index);
                    scope.spawn(move || complete(cluster, addresses, programs))
                })
                .collect();
            waiting.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| bail!("panicked")))
        })?;
        Ok(Ready { programs: programs.join("bin"), kubeconfig, clusters: ready })
    }

    fn node(&self, cluster: u8, index: u8) -> Node {
        let name = format!("{}-node-{}", cluster_name(cluster), index + 1);
        Node {
            cgroup: format!("/{}/{name}", cgroup::name(self.number)),
            name,
            cluster: cluster_name(cluster),
            index,
            addresses: SetAddresses(self.number).cluster(cluster),
        }
    }

    /// The router joins all nodes and the machine. It has a network of its own, so that forwarding is
    /// switched on there and not on the machine, and everything goes with it.
    fn start_router(&mut self, request: Request, clusters: &[Authority], programs: &Path) -> Result<()> {
        let addresses = SetAddresses(self.number);
        let mut setup = vec![
            "ip link set lo up".to_owned(),
            "ip link add nodes type bridge".to_owned(),
            format!("ip address add {}/24 dev nodes", addresses.nodes().at(1)),
            "ip link set nodes up".to_owned(),
            format!("ip address add {}/30 dev eth0", addresses.uplink().at(2)),
            "ip link set eth0 up".to_owned(),
            format!("ip route add default via {}", addresses.uplink().at(1)),
        ];
        setup.extend(settings::kernel_settings());
        let mut files = empty_files();
        let mut services = BTreeMap::new();
        for (index, authority) in (0..).zip(clusters) {
            let cluster = addresses.cluster(index);
            setup.push(format!("ip route add {} via {}", cluster.balanced(), cluster.node(0)));
            for node in 0..request.nodes {
                setup.push(format!("ip route add {} via {}", cluster.pods_of(node), cluster.node(node)));
            }
            let name = cluster_name(index);
            let client = authority.client("load-balancer", Some("system:masters"))?;
            let kubeconfig = authority.kubeconfig(&name, cluster.node(0), &client);
            files.insert(format!("{name}.kubeconfig"), kubeconfig.to_string());
            services.insert(format!("load-balancer-{name}"), load_balancer(&name, &cluster.balanced()));
        }
        let sandbox = Sandbox { name: "router".to_owned(), setup, services, ..Sandbox::default() };
        self.start(sandbox, &files, programs)?;
        Ok(())
    }

    /// Starts a box and wires its `eth0`: the router's leads to the machine, a node's to the router.
    fn start(
        &mut self,
        mut sandbox: Sandbox,
        files: &BTreeMap<String, String>,
        programs: &Path,
    ) -> Result<Pid> {
        let state = self.directory.join(&sandbox.name);
        for directory in ["etc/cni", "lib", "logs", "log", "programs", "sys"] {
            std::fs::create_dir_all(state.join(directory))?;
        }
        for (name, text) in files {
            write_private(&state.join("etc").join(name), text)?;
        }
        sandbox.state = state.display().to_string();
        sandbox.programs = programs.display().to_string();
        let specification = state.join("box.json");
        std::fs::write(&specification, serde_json::to_vec_pretty(&sandbox)?)?;

        let mut started = RunningBox::spawn(&specification)?;
        let pid = started.pid;
        let wired = match self.boxes.first() {
            None => self.wire_router(pid),
            Some(router) => wire_node(router.pid, pid, self.boxes.len()),
        };
        let ready = wired.and_then(|()| started.proceed());
        self.boxes.push(started);
        ready.with_context(|| format!("box {}", sandbox.name))?;
        Ok(pid)
    }

    fn wire_router(&self, pid: Pid) -> Result<()> {
        let addresses = SetAddresses(self.number);
        let link = cgroup::name(self.number);
        words(&format!("ip link add {link} type veth peer name eth0 netns {}", pid.as_raw_nonzero()))?;
        words(&format!("ip address add {}/30 dev {link}", addresses.uplink().at(1)))?;
        words(&format!("ip link set {link} up"))?;
        words(&format!("ip route add {} via {}", addresses.all(), addresses.uplink().at(2)))?;
        Ok(())
    }

    /// Saves the logs of a set that does not come up from going with it.
    fn keep_logs(&self) -> Result<PathBuf> {
        let kept = self.directory.with_extension("failed");
        let _ = std::fs::remove_dir_all(&kept);
        std::fs::create_dir_all(&kept)?;
        for sandbox in std::fs::read_dir(&self.directory)? {
            let sandbox = sandbox?;
            for log in std::fs::read_dir(sandbox.path().join("log")).into_iter().flatten() {
                let log = log?;
                let name = [sandbox.file_name(), log.file_name()].map(|name| name.display().to_string());
                std::fs::copy(log.path(), kept.join(name.join("-")))?;
            }
        }
        Ok(kept)
    }

    fn take_down(&mut self) -> Result<()> {
        for running in self.boxes.iter().rev() {
            // It may be gone already.
            let _ = kill_process(running.pid, Signal::KILL);
        }
        for mut running in self.boxes.drain(..) {
            running.keeper.wait()?;
        }
        clear(self.number, &self.directory)
    }
}

impl Drop for Set {
    #[allow(clippy::print_stderr, reason = "there is nobody to return an error to")]
    fn drop(&mut self) {
        if let Err(error) = self.take_down() {
            eprintln!("test clusters: {error:#}");
        }
    }
}

impl RunningBox {
    fn spawn(specification: &Path) -> Result<Self> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--uts", "--ipc"]);
        command.args(["--net", "--kill-child=KILL", "--"]).arg(std::env::current_exe()?);
        command.arg("box").arg(specification).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(File::create(specification.with_file_name("log").join("box.log"))?);
        let mut keeper = command.spawn().context("starting a box")?;
        let stdin = keeper.stdin.take().context("no standard input")?;
        let mut said = BufReader::new(keeper.stdout.take().context("no standard output")?);
        let mut line = String::new();
        said.read_line(&mut line)?;
        let pid = line.trim().parse().ok().and_then(Pid::from_raw);
        Ok(Self { pid: pid.context("a box did not tell its process")?, keeper, stdin, said })
    }

    /// Lets the box go on, and waits until it has set up its network.
    fn proceed(&mut self) -> Result<()> {
        self.stdin.write_all(b"\n")?;
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        if line.trim() == "ready" { Ok(()) } else { bail!("it did not set up its network") }
    }
}

fn wire_node(router: Pid, node: Pid, number: usize) -> Result<()> {
    let inside = format!("nsenter -t {} -n", router.as_raw_nonzero());
    let node = node.as_raw_nonzero();
    words(&format!("{inside} ip link add node{number} type veth peer name eth0 netns {node}"))?;
    words(&format!("{inside} ip link set node{number} master nodes up"))?;
    Ok(())
}

fn load_balancer(cluster: &str, range: &impl std::fmt::Display) -> Vec<String> {
    let state = super::sandbox::STATE;
    vec![
        format!("{state}/programs/bin/load-balancer"),
        format!("--kubeconfig={state}/etc/{cluster}.kubeconfig"),
        format!("--range={range}"),
    ]
}

/// Removes what a set leaves behind once its processes are gone.
fn clear(number: u8, directory: &Path) -> Result<()> {
    cgroup::remove(&cgroup::name(number))?;
    eventually(Duration::from_secs(10), || match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    })
}

fn cluster_name(index: u8) -> String {
    format!("isthmus-{}", index + 1)
}

fn empty_files() -> BTreeMap<String, String> {
    ["hosts", "resolv.conf"].map(|name| (name.to_owned(), String::new())).into()
}

/// All files of a node: settings, and the keys and kubeconfigs of what it runs.
fn node_files(node: &Node, authority: &Authority) -> Result<BTreeMap<String, String>> {
    cgroup::create(&node.cgroup)?;
    let mut files: BTreeMap<String, String> =
        settings::files(node).into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    let server = node.addresses.node(0);
    let kubeconfig = |user: &str, group: Option<&str>| -> Result<String> {
        Ok(authority.kubeconfig(&node.cluster, server, &authority.client(user, group)?).to_string())
    };
    let kubelet = kubeconfig(&format!("system:node:{}", node.name), Some("system:nodes"))?;
    files.insert("kubelet.kubeconfig".to_owned(), kubelet);
    files.insert("kube-proxy.kubeconfig".to_owned(), kubeconfig("system:kube-proxy", None)?);
    let ca = authority.pair();
    files.insert("ca.pem".to_owned(), ca.certificate);
    if node.index > 0 {
        return Ok(files);
    }
    files.insert("ca.key".to_owned(), ca.key);
    files.insert(
        "controllers.kubeconfig".to_owned(),
        kubeconfig("system:kube-controller-manager", None)?,
    );
    files.insert("scheduler.kubeconfig".to_owned(), kubeconfig("system:kube-scheduler", None)?);
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
    ];
    let own = [server, node.addresses.services().at(1), Ipv4Addr::LOCALHOST];
    let client = authority.client("kube-apiserver", Some("system:masters"))?;
    for (name, pair) in [("apiserver", authority.server(&names, &own)?), ("apiserver-client", client)] {
        files.insert(format!("{name}.pem"), pair.certificate);
        files.insert(format!("{name}.key"), pair.key);
    }
    let accounts = rcgen::KeyPair::generate()?;
    files.insert("accounts.key".to_owned(), accounts.serialize_pem());
    files.insert("accounts.pem".to_owned(), accounts.public_key_pem());
    Ok(files)
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// Waits for a cluster that starts, and adds what a cluster has besides its components.
fn complete(
    cluster: &ReadyCluster,
    addresses: super::addresses::ClusterAddresses,
    programs: &Path,
) -> Result<()> {
    let kubectl = || {
        let mut command = Command::new(programs.join("bin/kubectl"));
        command.arg("--kubeconfig").arg(&cluster.kubeconfig);
        command
    };
    let images = std::fs::read(programs.join("images.tar"))?;
    for pid in &cluster.nodes {
        eventually(PATIENCE, || import(*pid, &images))?;
    }
    let server = SocketAddr::from((addresses.node(0), 6443));
    eventually(PATIENCE, || Ok(TcpStream::connect_timeout(&server, Duration::from_secs(1))?))?;
    eventually(PATIENCE, || output(kubectl().args(["get", "--raw", "/readyz"])))?;
    let manifests = include_str!("coredns.yaml").replace("DNS_ADDRESS", &addresses.dns().to_string());
    let manifests = manifests.replace("COREDNS_IMAGE", built::COREDNS);
    eventually(PATIENCE, || fed(kubectl().args(["apply", "-f", "-"]), manifests.as_bytes()))?;
    let wait = |arguments: &[&str]| eventually(PATIENCE, || output(kubectl().args(arguments)));
    eventually(PATIENCE, || {
        let names = output(kubectl().args(["get", "nodes", "-o", "name"]))?;
        if names.lines().count() == cluster.nodes.len() { Ok(()) } else { bail!("only {names}") }
    })?;
    wait(&["wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s"])?;
    wait(&["wait", "--for=create", "serviceaccount/default", "--timeout=60s"])?;
    wait(&["rollout", "status", "-n", "kube-system", "deployment/coredns", "--timeout=60s"])?;
    Ok(())
}

/// Brings an archive of images onto the node whose first process this is.
///
/// # Errors
/// When the node's containerd does not take it.
pub fn import(node: i32, archive: &[u8]) -> Result<()> {
    let ctr = format!("{}/programs/bin/ctr", super::sandbox::STATE);
    let mut command = Command::new("nsenter");
    command.args(["-t", &node.to_string(), "-m", &ctr, "-n", "k8s.io", "images", "import", "-"]);
    fed(&mut command, archive).map(drop)
}
