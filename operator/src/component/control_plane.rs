//! The control plane: its Deployment, and what finds, protects and keeps it.

use isthmus_crds::{ControlPlane, names::CONTROL_PLANE};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Container, ContainerPort, PodSpec, PodTemplateSpec, Service, ServiceAccount, ServicePort,
            ServiceSpec,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{
    READY_PORT, container, mount, pod_security, probe, pull_secrets, resources, scratch, spread,
};
use crate::{
    mesh::Mesh,
    object::{self, Manifest},
};

/// Where proxies are served.
pub const PORT: i32 = 15012;

/// The control plane's Deployment.
pub fn deployment(mesh: &Mesh) -> Manifest {
    let given = &mesh.revision.control_plane;
    let spec = DeploymentSpec {
        replicas: Some(i32::from(replicas(given))),
        selector: pods(mesh),
        min_ready_seconds: Some(min_ready(mesh)),
        progress_deadline_seconds: Some(mesh.timeout.try_into().unwrap_or(i32::MAX)),
        strategy: Some(never_fewer()),
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(mesh.control_plane_labels()),
                ..ObjectMeta::default()
            }),
            spec: Some(pod(mesh, given)),
        },
        ..DeploymentSpec::default()
    };
    let metadata = mesh.control_plane_meta(object::DEPLOYMENT);
    Manifest::new(object::DEPLOYMENT, &Deployment { metadata, spec: Some(spec), status: None })
}

/// For so long, in seconds, a pod is ready before it counts: one that ends soon after it was ready has not
/// run. An API server wants it to be less than the time in which a roll-out is to make progress.
pub(super) fn min_ready(mesh: &Mesh) -> i32 {
    const SECONDS: u32 = 5;
    SECONDS.min(mesh.timeout.saturating_sub(1)).try_into().unwrap_or_default()
}

/// A roll-out that ends no pod before its successor is ready.
pub(super) fn never_fewer() -> DeploymentStrategy {
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_unavailable: Some(IntOrString::Int(0)),
            max_surge: Some(IntOrString::Int(1)),
        }),
    }
}

fn replicas(given: &ControlPlane) -> u16 {
    given.replicas.unwrap_or(1)
}

pub(super) fn pods(mesh: &Mesh) -> LabelSelector {
    let mut labels = mesh.control_plane_labels();
    labels.remove("app.kubernetes.io/part-of");
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

fn pod(mesh: &Mesh, given: &ControlPlane) -> PodSpec {
    PodSpec {
        service_account_name: Some(CONTROL_PLANE.to_owned()),
        image_pull_secrets: pull_secrets(&mesh.pull),
        security_context: Some(pod_security()),
        containers: vec![Container {
            ports: Some(vec![port("xds", PORT), port("ready", READY_PORT)]),
            resources: Some(resources(&given.resources, "50m", "64Mi")),
            liveness_probe: Some(probe("/live", 10)),
            volume_mounts: Some(vec![mount("state", "/var/lib/isthmus", false)]),
            ..container("control-plane", given.image.as_ref(), &mesh.pull, arguments(mesh))
        }],
        volumes: Some(vec![scratch("state")]),
        topology_spread_constraints: Some(spread(&pods(mesh))),
        ..PodSpec::default()
    }
}

/// The control plane's command line: everything else it reads from the MeshInstall.
fn arguments(mesh: &Mesh) -> Vec<String> {
    let ready = format!("[::]:{READY_PORT}");
    let all = ["control-plane", "--mesh-install", &mesh.name, "--ready-address", &ready];
    let revision = mesh.side.iter().flat_map(|side| ["--revision", &side.name]);
    all.into_iter().chain(revision).map(str::to_owned).collect()
}

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// Who the control plane is to the API server, and to proxies.
pub fn service_account(mesh: &Mesh) -> Manifest {
    let metadata = mesh.meta(object::SERVICE_ACCOUNT, "control-plane", CONTROL_PLANE);
    Manifest::new(object::SERVICE_ACCOUNT, &ServiceAccount { metadata, ..<_>::default() })
}

/// Where proxies find it: it has no selector, since the replica that leads says where it is. Were proxies
/// spread over all replicas, none of them would know what is in force everywhere.
pub fn service(mesh: &Mesh) -> Manifest {
    let spec = ServiceSpec {
        ports: Some(vec![ServicePort {
            name: Some("xds".to_owned()),
            port: PORT,
            protocol: Some("TCP".to_owned()),
            target_port: Some(IntOrString::Int(PORT)),
            ..ServicePort::default()
        }]),
        ..ServiceSpec::default()
    };
    let metadata = mesh.control_plane_meta(object::SERVICE);
    Manifest::new(object::SERVICE, &Service { metadata, spec: Some(spec), status: None })
}

/// Lets nodes be emptied one control plane at a time; none where there is one only, since that would
/// keep its node from being emptied at all.
pub fn disruption_budget(mesh: &Mesh) -> Option<Manifest> {
    let several = replicas(&mesh.revision.control_plane) > 1;
    let spec = PodDisruptionBudgetSpec {
        max_unavailable: Some(IntOrString::Int(1)),
        selector: Some(pods(mesh)),
        ..PodDisruptionBudgetSpec::default()
    };
    let metadata = mesh.control_plane_meta(object::DISRUPTION_BUDGET);
    let budget = PodDisruptionBudget { metadata, spec: Some(spec), status: None };
    several.then(|| Manifest::new(object::DISRUPTION_BUDGET, &budget))
}
