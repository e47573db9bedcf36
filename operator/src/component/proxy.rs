//! What one Gateway is run by (GEP-1762): proxies, and the Service with the Gateway's address.
//!
//! All of it lives in the Gateway's namespace and goes with the Gateway. Listeners are not in the pods'
//! template, so that an edit of a Gateway restarts nothing.

use std::collections::{BTreeMap, BTreeSet};

use isthmus_crds::{Proxy, Revision, names};
use isthmus_world::fact::Gateway;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        autoscaling::v2::{
            CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec,
            MetricSpec, MetricTarget, ResourceMetricSource,
        },
        core::v1::{
            ConfigMapVolumeSource, Container, ContainerPort, PodSpec, PodTemplateSpec,
            ProjectedVolumeSource, ServiceAccount, ServiceAccountTokenProjection, Sysctl, Volume,
            VolumeProjection,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use kube::core::DynamicObject;
use serde_json::Value;

use super::{
    READY_PORT, container, control_plane, mount, network, pod_security, pull_secrets, resources,
    scratch, selector, service, spread,
};
use crate::{
    mesh::{Mesh, owner},
    object::{self, Manifest},
    parameters::Parameters,
};

/// The label with the class of the Gateway that an object was made for (GEP-1762).
const CLASS_LABEL: &str = "gateway.networking.k8s.io/gateway-class-name";

/// A Gateway that is to run.
#[derive(Clone, Copy, Debug)]
pub struct Edge<'a> {
    /// The install that runs it.
    pub mesh: &'a Mesh,
    /// What its pods run with.
    pub revision: &'a Revision,
    /// What it says.
    pub gateway: &'a Gateway,
    /// The object: its uid, and `spec.infrastructure`.
    pub object: &'a DynamicObject,
    /// What is asked for of its Service, and of how proxies end.
    pub parameters: &'a Parameters,
    /// Its Service, where there is one.
    pub service: Option<&'a DynamicObject>,
    /// How many proxies its Deployment asks for, where there is one.
    pub found: Option<i64>,
}

/// The objects of a Gateway, in the order in which they are made.
pub fn objects(edge: Edge<'_>) -> Vec<Manifest> {
    let first =
        [service_account(edge), network::of_gateway(edge), service::service(edge), deployment(edge)];
    first.into_iter().chain(disruption_budget(edge)).chain(autoscaler(edge)).collect()
}

/// The Gateway's Deployment.
pub fn deployment(edge: Edge<'_>) -> Manifest {
    let proxy = &edge.revision.proxy;
    let pods = edge.pods();
    let spec = DeploymentSpec {
        replicas: given(proxy),
        selector: pods.clone(),
        min_ready_seconds: Some(control_plane::min_ready(edge.mesh)),
        progress_deadline_seconds: Some(edge.mesh.timeout.try_into().unwrap_or(i32::MAX)),
        strategy: Some(control_plane::never_fewer()),
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(edge.labels()),
                annotations: Some(edge.copied("annotations")).filter(|all| !all.is_empty()),
                ..ObjectMeta::default()
            }),
            spec: Some(pod(edge, &pods)),
        },
        ..DeploymentSpec::default()
    };
    let metadata = edge.meta();
    let deployment = Deployment { metadata, spec: Some(spec), status: None };
    let manifest = Manifest::new(object::DEPLOYMENT, &deployment);
    match given(proxy) {
        Some(_) => manifest,
        None => manifest.holding("/spec", "replicas", kept(edge)),
    }
}

/// How many proxies there are to be, where nobody else decides it.
fn given(proxy: &Proxy) -> Option<i32> {
    proxy.replicas.filter(|_| proxy.autoscale.is_none()).map(i32::from)
}

/// As many as there are, where an autoscaler of ours or somebody else decides it; at first the least. An
/// autoscaler keeps its bounds by itself, but does nothing where there are none.
fn kept(edge: Edge<'_>) -> i64 {
    let proxy = &edge.revision.proxy;
    let found = edge.found.unwrap_or(replicas(proxy).into());
    if proxy.autoscale.is_some() { found.max(1) } else { found }
}

fn pod(edge: Edge<'_>, pods: &LabelSelector) -> PodSpec {
    let mut security = pod_security();
    // So that a proxy binds the listeners' own ports without being root.
    security.sysctls = Some(vec![Sysctl {
        name: "net.ipv4.ip_unprivileged_port_start".to_owned(),
        value: "0".to_owned(),
    }]);
    let proxy = &edge.revision.proxy;
    PodSpec {
        service_account_name: Some(edge.name()),
        image_pull_secrets: pull_secrets(&edge.mesh.pull),
        // The one token that a proxy needs is mounted by name, for the control plane alone.
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(security),
        // A proxy lingers by itself while load balancers learn that it ends: so no hook does.
        termination_grace_period_seconds: Some(edge.parameters.grace_seconds()),
        containers: vec![Container {
            ports: Some(vec![ContainerPort {
                name: Some("ready".to_owned()),
                container_port: READY_PORT,
                protocol: Some("TCP".to_owned()),
                ..ContainerPort::default()
            }]),
            resources: Some(resources(&proxy.resources, "10m", "32Mi")),
            volume_mounts: Some(vec![
                mount("state", STATE, false),
                mount("token", TOKEN, true),
                mount("root", ROOT, true),
            ]),
            ..container("proxy", proxy.image.as_ref(), &edge.mesh.pull, arguments(edge))
        }],
        volumes: Some(vec![scratch("state"), token(), root()]),
        topology_spread_constraints: Some(spread(pods)),
        ..PodSpec::default()
    }
}

const STATE: &str = "/var/lib/isthmus";
const TOKEN: &str = "/var/run/secrets/isthmus";
const ROOT: &str = "/var/run/secrets/isthmus-root";

/// The proxy's command line.
fn arguments(edge: Edge<'_>) -> Vec<String> {
    let Mesh { namespace, trust_domain, .. } = edge.mesh;
    let (name, account) = (edge.mesh.control_plane(), names::CONTROL_PLANE);
    let mut all = vec![
        "--control-plane".to_owned(),
        format!("{name}.{namespace}.svc:{}", control_plane::PORT),
        "--control-plane-id".to_owned(),
        format!("spiffe://{trust_domain}/ns/{namespace}/sa/{account}"),
        "--roots".to_owned(),
        format!("{ROOT}/root.pem"),
        "--token-file".to_owned(),
        format!("{TOKEN}/token"),
        "--ready-address".to_owned(),
        format!("[::]:{READY_PORT}"),
        "--state-dir".to_owned(),
        STATE.to_owned(),
    ];
    let (wait, deadline) = edge.parameters.drain();
    all.extend(["--drain-wait".to_owned(), wait.to_string()]);
    all.extend(["--drain-deadline".to_owned(), deadline.to_string()]);
    if let Some(threads) = edge.revision.proxy.threads {
        all.extend(["--threads".to_owned(), threads.to_string()]);
    }
    if edge.revision.proxy.access_log {
        all.extend(["--access-log", "-"].map(str::to_owned));
    }
    all
}

/// A token that says which pod this is, for the control plane and nobody else.
fn token() -> Volume {
    let token = ServiceAccountTokenProjection {
        audience: Some(names::AUDIENCE.to_owned()),
        expiration_seconds: Some(3600),
        path: "token".to_owned(),
    };
    let sources = vec![VolumeProjection { service_account_token: Some(token), ..<_>::default() }];
    Volume {
        name: "token".to_owned(),
        projected: Some(ProjectedVolumeSource { sources: Some(sources), ..<_>::default() }),
        ..Volume::default()
    }
}

/// The roots that authenticate the control plane, which publishes them.
fn root() -> Volume {
    Volume {
        name: "root".to_owned(),
        config_map: Some(ConfigMapVolumeSource { name: names::ROOT.to_owned(), ..<_>::default() }),
        ..Volume::default()
    }
}

fn service_account(edge: Edge<'_>) -> Manifest {
    let metadata = edge.meta();
    let account = ServiceAccount {
        metadata,
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    Manifest::new(object::SERVICE_ACCOUNT, &account)
}

/// The ports of a Gateway's listeners, each with `TCP` or `UDP`.
pub(super) fn ports(gateway: &Gateway) -> BTreeSet<(u16, &'static str)> {
    let protocol = |protocol: &str| if protocol == "UDP" { "UDP" } else { "TCP" };
    gateway.listeners.iter().map(|listener| (listener.port, protocol(&listener.protocol))).collect()
}

/// Lets nodes be emptied one proxy at a time; none where there is never more than one.
fn disruption_budget(edge: Edge<'_>) -> Option<Manifest> {
    let proxy = &edge.revision.proxy;
    let spec = PodDisruptionBudgetSpec {
        max_unavailable: Some(IntOrString::Int(1)),
        selector: Some(edge.pods()),
        ..PodDisruptionBudgetSpec::default()
    };
    let metadata = edge.meta();
    let budget = PodDisruptionBudget { metadata, spec: Some(spec), status: None };
    let several = replicas(proxy) > 1 || proxy.autoscale.is_some();
    several.then(|| Manifest::new(object::DISRUPTION_BUDGET, &budget))
}

fn autoscaler(edge: Edge<'_>) -> Option<Manifest> {
    let proxy = &edge.revision.proxy;
    let bounds = proxy.autoscale.as_ref()?;
    let cpu = ResourceMetricSource {
        name: "cpu".to_owned(),
        target: MetricTarget {
            type_: "Utilization".to_owned(),
            average_utilization: Some(bounds.target_cpu_percent.into()),
            ..MetricTarget::default()
        },
    };
    let spec = HorizontalPodAutoscalerSpec {
        min_replicas: Some(replicas(proxy).into()),
        max_replicas: bounds.max_replicas.max(replicas(proxy)).into(),
        metrics: Some(vec![MetricSpec {
            type_: "Resource".to_owned(),
            resource: Some(cpu),
            ..MetricSpec::default()
        }]),
        scale_target_ref: CrossVersionObjectReference {
            api_version: Some(object::DEPLOYMENT.api_version()),
            kind: object::DEPLOYMENT.kind.to_owned(),
            name: edge.name(),
        },
        ..HorizontalPodAutoscalerSpec::default()
    };
    let metadata = edge.meta();
    let autoscaler = HorizontalPodAutoscaler { metadata, spec, status: None };
    Some(Manifest::new(object::AUTOSCALER, &autoscaler))
}

fn replicas(proxy: &Proxy) -> u16 {
    proxy.replicas.unwrap_or(1)
}

impl Edge<'_> {
    fn name(self) -> String {
        names::of_gateway(&self.gateway.meta.name)
    }

    /// The Gateway's pods.
    pub(super) fn pods(self) -> LabelSelector {
        let name = names::label_of_gateway(&self.gateway.meta.name);
        selector(&[object::OURS, (names::GATEWAY_LABEL, &name)])
    }

    /// Labels of everything that is made for the Gateway: those of `spec.infrastructure` and our own.
    fn labels(self) -> BTreeMap<String, String> {
        let gateway = self.gateway;
        let own = [
            (names::GATEWAY_LABEL, names::label_of_gateway(&gateway.meta.name)),
            (CLASS_LABEL, label_value(&gateway.class)),
        ];
        let mut all = self.copied("labels");
        all.extend(object::labels("gateway"));
        all.extend(own.map(|(key, value)| (key.to_owned(), value)));
        all
    }

    /// `spec.infrastructure.labels` or `annotations`, but for those that a controller writes itself: with what
    /// a user has there, each would undo the other's writes for ever (case F9).
    fn copied(self, what: &str) -> BTreeMap<String, String> {
        let all = self.object.data.pointer(&format!("/spec/infrastructure/{what}"));
        let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
        let all = all.and_then(Value::as_object).into_iter().flatten();
        all.filter(|(key, _)| !is_of_controller(key)).filter_map(text).collect()
    }

    pub(super) fn meta(self) -> ObjectMeta {
        let gateway = &self.gateway.meta;
        let uid = self.object.metadata.uid.as_deref().unwrap_or_default();
        ObjectMeta {
            name: Some(self.name()),
            namespace: Some(gateway.namespace.clone()),
            labels: Some(self.labels()),
            annotations: Some(self.copied("annotations")).filter(|all| !all.is_empty()),
            owner_references: Some(vec![owner(object::GATEWAY, &gateway.name, uid)]),
            ..ObjectMeta::default()
        }
    }
}

/// Whether it is an annotation by which the deployment controller keeps its own account, or is told to undo.
fn is_of_controller(key: &str) -> bool {
    key.starts_with("deployment.kubernetes.io/") || key == "deprecated.deployment.rollback.to"
}

/// `name` as the value of a label that nothing is chosen by: it may be shorter than a name.
fn label_value(name: &str) -> String {
    let cut: String = name.chars().take(63).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}
