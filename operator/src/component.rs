//! The objects that are wanted, as typed literals: one file a component, and here what several have in
//! common. Nothing here looks at what is there.

pub mod access;
pub mod control_plane;
pub mod definitions;
pub mod gateway_class;
pub mod network;
pub mod proxy;
pub mod secrets;
mod service;

use isthmus_crds::{ResourceList, Resources};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, HTTPGetAction,
        LocalObjectReference, ObjectFieldSelector, PodSecurityContext, Probe, ResourceRequirements,
        SeccompProfile, SecurityContext, TopologySpreadConstraint, Volume, VolumeMount,
    },
    apimachinery::pkg::{
        api::resource::Quantity, apis::meta::v1::LabelSelector, util::intstr::IntOrString,
    },
};
use std::collections::BTreeMap;

use crate::place::Pull;

/// The user and group that pods run as: nobody in particular, and not root.
const USER: i64 = 65532;

/// Where pods answer `/ready`.
pub const READY_PORT: i32 = 15021;

/// What every pod of the mesh is refused.
fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..<_>::default() }),
        ..PodSecurityContext::default()
    }
}

/// What every container of the mesh is refused.
fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

/// Environment that tells a program which pod it is in.
fn pod_environment() -> Vec<EnvVar> {
    let field = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { field_path: path.to_owned(), ..<_>::default() }),
            ..<_>::default()
        }),
        ..EnvVar::default()
    };
    vec![
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("POD_IP", "status.podIP"),
    ]
}

/// What a pod is asked over HTTP every so many seconds; the third answer of "no" in a row counts.
fn probe(path: &str, period: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(READY_PORT),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(period.min(2)),
        failure_threshold: Some(3),
        ..Probe::default()
    }
}

/// Memory that a program may write to, and that is gone with its pod.
fn scratch(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".to_owned()),
            size_limit: Some(Quantity("64Mi".to_owned())),
        }),
        ..Volume::default()
    }
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

/// Pods of one kind go to different nodes where there are several.
fn spread(selector: &LabelSelector) -> Vec<TopologySpreadConstraint> {
    ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
        .map(|key| TopologySpreadConstraint {
            max_skew: 1,
            topology_key: key.to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(selector.clone()),
            ..TopologySpreadConstraint::default()
        })
        .into()
}

/// What a container is given: what is asked for, or these amounts.
fn resources(given: &Resources, cpu: &str, memory: &str) -> ResourceRequirements {
    let amounts = |list: &ResourceList, cpu: Option<&str>, memory: Option<&str>| {
        let cpu = list.cpu.as_deref().or(cpu).map(|amount| ("cpu", amount));
        let memory = list.memory.as_deref().or(memory).map(|amount| ("memory", amount));
        let all = cpu.into_iter().chain(memory);
        let all = all.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())));
        Some(all.collect::<BTreeMap<_, _>>()).filter(|all| !all.is_empty())
    };
    // A request above the limit is refused: a limit that is given alone is the request too.
    let requests = ResourceList {
        cpu: given.requests.cpu.clone().or_else(|| given.limits.cpu.clone()),
        memory: given.requests.memory.clone().or_else(|| given.limits.memory.clone()),
    };
    ResourceRequirements {
        requests: amounts(&requests, Some(cpu), Some(memory)),
        limits: amounts(&given.limits, None, None),
        ..ResourceRequirements::default()
    }
}

/// A container with what all of ours have.
fn container(name: &str, image: Option<&String>, pull: &Pull, args: Vec<String>) -> Container {
    Container {
        name: name.to_owned(),
        image: image.cloned(),
        image_pull_policy: Some(pull.policy.clone()),
        args: Some(args),
        env: Some(pod_environment()),
        readiness_probe: Some(probe("/ready", 1)),
        security_context: Some(container_security()),
        ..Container::default()
    }
}

/// By which Secrets of its namespace a pod's images are fetched.
fn pull_secrets(pull: &Pull) -> Option<Vec<LocalObjectReference>> {
    let all = pull.secrets.iter().map(|name| LocalObjectReference { name: name.clone() });
    Some(all.collect()).filter(|all: &Vec<_>| !all.is_empty())
}

fn selector(labels: &[(&str, &str)]) -> LabelSelector {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    LabelSelector { match_labels: Some(labels.collect()), ..LabelSelector::default() }
}
