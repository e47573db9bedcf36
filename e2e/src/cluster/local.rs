//! Clusters that are made on this machine: a box for the router of a set and one for each node. A box ends
//! with the process that started it; the kernel sees to that.

mod running;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::Pid;

use self::running::{RunningBox, wire_node};
use super::{
    Cluster, Images,
    addresses::{ClusterAddresses, SetAddresses},
    built, cgroup,
    claim::Claim,
    command::{eventually, fed, words},
    pki::Authority,
    sandbox::{STATE, Sandbox},
    settings::{self, Node},
    supervisor::{Request, Set, copy_all},
    write_private,
};

/// How long a set may take to come up on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// A set of clusters of boxes.
pub(super) struct Local {
    number: u8,
    directory: PathBuf,
    programs: PathBuf,
    /// The router's first.
    boxes: Vec<RunningBox>,
}

impl Set for Local {
    fn bring_up(&mut self, request: Request) -> Result<Vec<Cluster>> {
        let authorities: Vec<Authority> =
            (0..request.clusters).map(|_| Authority::new()).collect::<Result<_>>()?;
        self.start_router(request, &authorities)?;
        let clusters: Vec<Cluster> = (0..)
            .zip(&authorities)
            .map(|(index, authority)| self.start_nodes(index, request.nodes, authority))
            .collect::<Result<_>>()?;
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..)
                .zip(&clusters)
                .map(|(index, cluster)| {
                    let addresses = SetAddresses(self.number).cluster(index);
                    let programs = &self.programs;
                    scope.spawn(move || complete(cluster, request.nodes, addresses, programs))
                })
                .collect();
            waiting.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| bail!("panicked")))
        })?;
        Ok(clusters)
    }

    fn keep_logs(&self, to: &Path) -> Result<()> {
        for sandbox in std::fs::read_dir(&self.directory)? {
            let sandbox = sandbox?;
            let to = to.join(sandbox.file_name());
            copy_all(&sandbox.path().join("log"), &to)?;
            copy_all(&sandbox.path().join("logs/pods"), &to.join("pods"))?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        // All at once, and then each to its end.
        self.boxes.iter().rev().for_each(RunningBox::kill);
        self.boxes.drain(..).try_for_each(RunningBox::ended)
    }
}

impl Local {
    pub(super) fn new(claim: &Claim, programs: &Path) -> Self {
        Self {
            number: claim.number(),
            directory: claim.directory().to_owned(),
            programs: programs.to_owned(),
            boxes: Vec::new(),
        }
    }

    fn start_nodes(&mut self, index: u8, nodes: u8, authority: &Authority) -> Result<Cluster> {
        let (name, addresses) = (cluster_name(index), SetAddresses(self.number).cluster(index));
        let mut pids = Vec::new();
        for node in 0..nodes {
            let node = self.node(index, node);
            cgroup::create(&node.cgroup)?;
            let files = node_files(&node, authority)?;
            let sandbox = settings::sandbox(&node, SetAddresses(self.number).nodes().at(1));
            pids.push(self.start(sandbox, &files)?.as_raw_nonzero().get());
        }
        let admin = authority.client("admin", Some("system:masters"))?;
        let kubeconfig = self.directory.join(format!("{name}.kubeconfig"));
        write_private(&kubeconfig, &authority.kubeconfig(&name, addresses.node(0), &admin).to_string())?;
        Ok(Cluster {
            context: name,
            kubeconfig,
            programs: self.programs.join("bin"),
            images: Images::Imported(pids),
            spare_address: Some(addresses.spare()),
        })
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
    fn start_router(&mut self, request: Request, clusters: &[Authority]) -> Result<()> {
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
        let mut files =
            BTreeMap::from(["hosts", "resolv.conf"].map(|name| (name.to_owned(), String::new())));
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
        self.start(sandbox, &files)?;
        Ok(())
    }

    /// Starts a box and wires its `eth0`: the router's leads to the machine, a node's to the router.
    fn start(&mut self, mut sandbox: Sandbox, files: &BTreeMap<String, String>) -> Result<Pid> {
        let state = self.directory.join(&sandbox.name);
        for directory in ["etc/cni", "lib", "logs", "log", "programs", "sys"] {
            std::fs::create_dir_all(state.join(directory))?;
        }
        for (name, text) in files {
            write_private(&state.join("etc").join(name), text)?;
        }
        sandbox.state = state.display().to_string();
        sandbox.programs = self.programs.display().to_string();
        let specification = state.join("box.json");
        std::fs::write(&specification, serde_json::to_vec_pretty(&sandbox)?)?;

        let mut started = RunningBox::spawn(&specification)?;
        let pid = started.pid();
        let wired = match self.boxes.first() {
            None => self.wire_router(pid),
            Some(router) => wire_node(router.pid(), pid, self.boxes.len()),
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
}

fn cluster_name(index: u8) -> String {
    format!("isthmus-{}", index + 1)
}

fn load_balancer(cluster: &str, range: &impl std::fmt::Display) -> Vec<String> {
    vec![
        format!("{STATE}/programs/bin/load-balancer"),
        format!("--kubeconfig={STATE}/etc/{cluster}.kubeconfig"),
        format!("--range={range}"),
    ]
}

/// All files of a node: settings, and the keys and kubeconfigs of what it runs.
fn node_files(node: &Node, authority: &Authority) -> Result<BTreeMap<String, String>> {
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

/// Waits for a cluster that starts, and adds what a cluster has besides its components.
fn complete(cluster: &Cluster, nodes: u8, addresses: ClusterAddresses, programs: &Path) -> Result<()> {
    let images = std::fs::read(programs.join("images.tar"))?;
    if let Images::Imported(pids) = &cluster.images {
        pids.iter().try_for_each(|pid| eventually(PATIENCE, || import(*pid, &images)))?;
    }
    let server = SocketAddr::from((addresses.node(0), 6443));
    eventually(PATIENCE, || Ok(TcpStream::connect_timeout(&server, Duration::from_secs(1))?))?;
    eventually(PATIENCE, || cluster.kubectl(&["get", "--raw", "/readyz"]))?;
    let manifests = include_str!("coredns.yaml").replace("DNS_ADDRESS", &addresses.dns().to_string());
    let manifests = manifests.replace("COREDNS_IMAGE", built::COREDNS);
    eventually(PATIENCE, || cluster.apply(&manifests))?;
    eventually(PATIENCE, || {
        let names = cluster.kubectl(&["get", "nodes", "-o", "name"])?;
        if names.lines().count() == usize::from(nodes) { Ok(()) } else { bail!("only {names}") }
    })?;
    let wait = |arguments: &[&str]| eventually(PATIENCE, || cluster.kubectl(arguments));
    wait(&["wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s"])?;
    wait(&["wait", "--for=create", "serviceaccount/default", "--timeout=60s"])?;
    wait(&["rollout", "status", "-n", "kube-system", "deployment/coredns", "--timeout=60s"])?;
    Ok(())
}

/// Brings an archive of images onto the node whose first process this is.
pub(super) fn import(node: i32, archive: &[u8]) -> Result<()> {
    let ctr = format!("{STATE}/programs/bin/ctr");
    let mut command = Command::new("nsenter");
    command.args(["-t", &node.to_string(), "-m", &ctr, "-n", "k8s.io", "images", "import", "-"]);
    fed(&mut command, archive).map(drop)
}
