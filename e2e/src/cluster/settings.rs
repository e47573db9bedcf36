//! How the components of a test cluster are set: their files and command lines, as the simplest that a real
//! cluster accepts. Nothing is started here.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde_json::json;

use super::{
    addresses::ClusterAddresses,
    built::PAUSE,
    sandbox::{STATE, Sandbox},
};

/// One node of a cluster.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name, unique in the set.
    pub name: String,
    /// The cluster's name.
    pub cluster: String,
    /// Its number in the cluster; 0 runs the control plane.
    pub index: u8,
    /// The cluster's addresses.
    pub addresses: ClusterAddresses,
    /// The control group that its pods are put under.
    pub cgroup: String,
}

impl Node {
    /// The node's own address.
    pub fn address(&self) -> Ipv4Addr {
        self.addresses.node(self.index)
    }
}

/// The configuration files of a node, by name below `etc/`; kubeconfigs and certificates are not among them.
pub fn files(node: &Node) -> BTreeMap<&'static str, String> {
    let host = format!("127.0.0.1 localhost\n{} {}\n", node.address(), node.name);
    BTreeMap::from([
        ("hosts", host),
        ("resolv.conf", String::new()),
        ("containerd.toml", containerd()),
        ("cni/10-isthmus.conflist", network(node)),
        ("kubelet.yaml", kubelet(node)),
        ("kube-proxy.yaml", kube_proxy(node)),
        ("forward.nft", forward(node)),
    ])
}

/// What the node's box runs.
pub fn sandbox(node: &Node, gateway: Ipv4Addr) -> Sandbox {
    let mut services = BTreeMap::new();
    services.insert(
        "containerd".to_owned(),
        vec![program("containerd"), format!("--config={}", etc("containerd.toml"))],
    );
    services.insert(
        "kubelet".to_owned(),
        vec![
            program("kubelet"),
            format!("--config={}", etc("kubelet.yaml")),
            format!("--kubeconfig={}", etc("kubelet.kubeconfig")),
            format!("--hostname-override={}", node.name),
            format!("--node-ip={}", node.address()),
            format!(
                "--node-labels=topology.kubernetes.io/region={},topology.kubernetes.io/zone={}",
                node.cluster, node.name
            ),
        ],
    );
    services.insert(
        "kube-proxy".to_owned(),
        vec![program("kube-proxy"), format!("--config={}", etc("kube-proxy.yaml"))],
    );
    if node.index == 0 {
        services.extend(control_plane(node));
    }
    Sandbox { name: node.name.clone(), setup: wiring(node, gateway), services, ..Sandbox::default() }
}

/// Gives the box its addresses and routes; `eth0` is there already.
fn wiring(node: &Node, gateway: Ipv4Addr) -> Vec<String> {
    let mut lines = vec![
        "ip link set lo up".to_owned(),
        format!("ip address add {}/24 dev eth0", node.address()),
        "ip link set eth0 up".to_owned(),
        format!("ip route add default via {gateway}"),
        format!("nft -f {}", etc("forward.nft")),
    ];
    lines.extend(kernel_settings());
    lines
}

/// Kernel settings of a network namespace that forwards.
pub fn kernel_settings() -> Vec<String> {
    [
        "net.ipv4.ip_forward=1",
        "net.ipv4.conf.all.rp_filter=0",
        "net.ipv4.conf.default.rp_filter=0",
        "net.ipv4.conf.all.send_redirects=0",
        "net.ipv4.conf.default.send_redirects=0",
        "net.ipv4.icmp_ratelimit=0",
    ]
    .iter()
    .map(|setting| format!("sysctl -q -w {setting}"))
    .collect()
}

fn control_plane(node: &Node) -> BTreeMap<String, Vec<String>> {
    let own = node.address();
    let line = |name: &str, flags: Vec<String>| {
        (name.to_owned(), std::iter::once(program(name)).chain(flags).collect::<Vec<_>>())
    };
    BTreeMap::from([
        line(
            "etcd",
            vec![
                "--data-dir=/var/lib/etcd".to_owned(),
                "--unsafe-no-fsync".to_owned(),
                "--log-level=warn".to_owned(),
            ],
        ),
        line(
            "kube-apiserver",
            vec![
                format!("--advertise-address={own}"),
                "--allow-privileged=true".to_owned(),
                "--authorization-mode=Node,RBAC".to_owned(),
                format!("--client-ca-file={}", etc("ca.pem")),
                "--enable-admission-plugins=NodeRestriction".to_owned(),
                "--etcd-servers=http://127.0.0.1:2379".to_owned(),
                format!("--kubelet-client-certificate={}", etc("apiserver-client.pem")),
                format!("--kubelet-client-key={}", etc("apiserver-client.key")),
                "--kubelet-preferred-address-types=InternalIP".to_owned(),
                "--profiling=false".to_owned(),
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
                format!("--service-account-key-file={}", etc("accounts.pem")),
                format!("--service-account-signing-key-file={}", etc("accounts.key")),
                format!("--service-cluster-ip-range={}", node.addresses.services()),
                format!("--tls-cert-file={}", etc("apiserver.pem")),
                format!("--tls-private-key-file={}", etc("apiserver.key")),
            ],
        ),
        line(
            "kube-controller-manager",
            vec![
                "--bind-address=127.0.0.1".to_owned(),
                format!("--cluster-signing-cert-file={}", etc("ca.pem")),
                format!("--cluster-signing-key-file={}", etc("ca.key")),
                "--kube-api-burst=400".to_owned(),
                "--kube-api-qps=200".to_owned(),
                format!("--kubeconfig={}", etc("controllers.kubeconfig")),
                "--leader-elect=false".to_owned(),
                format!("--root-ca-file={}", etc("ca.pem")),
                format!("--service-account-private-key-file={}", etc("accounts.key")),
                "--use-service-account-credentials=true".to_owned(),
            ],
        ),
        line(
            "kube-scheduler",
            vec![
                "--bind-address=127.0.0.1".to_owned(),
                format!("--kubeconfig={}", etc("scheduler.kubeconfig")),
                "--leader-elect=false".to_owned(),
            ],
        ),
    ])
}

fn containerd() -> String {
    format!(
        r#"version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE}"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{STATE}/programs/cni"]
conf_dir = "{STATE}/etc/cni"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
"#
    )
}

fn network(node: &Node) -> String {
    let subnet = node.addresses.pods_of(node.index).to_string();
    json!({
        "cniVersion": "1.0.0",
        "name": "isthmus",
        "plugins": [
            { "type": "ptp", "ipam": {
                "type": "host-local",
                "ranges": [[{ "subnet": subnet }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
            } },
            { "type": "portmap", "backend": "nftables", "capabilities": { "portMappings": true } },
        ],
    })
    .to_string()
}

fn kubelet(node: &Node) -> String {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": etc("ca.pem") },
        },
        "authorization": { "mode": "Webhook" },
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": node.cgroup,
        "clusterDNS": [node.addresses.dns()],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "enforceNodeAllocatable": [],
        "eventRecordQPS": 0,
        "evictionHard": { "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
        "failCgroupV1": false,
        "failSwapOn": false,
        "imageGCHighThresholdPercent": 100,
        "kubeAPIBurst": 400,
        "kubeAPIQPS": 200,
        "maxPods": 500,
        "oomScoreAdj": 0,
        "resolvConf": etc("resolv.conf"),
        "serializeImagePulls": false,
    })
    .to_string()
}

fn kube_proxy(node: &Node) -> String {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": { "kubeconfig": etc("kube-proxy.kubeconfig") },
        "clusterCIDR": node.addresses.pods().to_string(),
        "conntrack": {
            "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
        },
        "hostnameOverride": node.name,
        "mode": "nftables",
        "nftables": { "minSyncPeriod": "50ms" },
        "oomScoreAdj": 0,
    })
    .to_string()
}

/// Refuses what no service has claimed, so that a closed port of a load balancer answers at once.
fn forward(node: &Node) -> String {
    let range = node.addresses.balanced();
    format!(
        "table ip isthmus {{
  chain forward {{
    type filter hook forward priority filter + 10; policy accept;
    ip daddr {range} meta l4proto tcp reject with tcp reset
    ip daddr {range} reject
  }}
}}
"
    )
}

fn program(name: &str) -> String {
    format!("{STATE}/programs/bin/{name}")
}

fn etc(name: &str) -> String {
    format!("{STATE}/etc/{name}")
}
