//! What is wrong with a mesh, or would be with one that is to be installed: stable codes, and sentences
//! that say what to do.

use isthmus_crds::{MeshInstall, MeshRevision};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{component::definitions, object, observe::operator, observed::Observed, rollout};

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What it is called, for ever.
    pub code: &'static str,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Finding {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What stands in the way of an install.
pub fn before(observed: &Observed) -> Vec<Finding> {
    let mut all: Vec<Finding> = forbidden(observed).collect();
    if observed.knows(object::DEFINITION)
        && let Some((_, message)) = definitions::gateway_api_problem(observed)
    {
        all.push(Finding::new("gateway-api", message));
    }
    all
}

/// What is wrong with the mesh.
pub fn after(observed: &Observed) -> Vec<Finding> {
    let mut all = before(observed);
    all.extend(of_operator(observed));
    all.extend(unreadable(observed));
    match observed.install() {
        Some(install) => all.extend(of_install(&install)),
        None if observed.of(object::MESH_INSTALL).next().is_none()
            && observed.knows(object::MESH_INSTALL) =>
        {
            all.push(Finding::new("no-install", "there is no MeshInstall: `isthmus install`"));
        }
        None => {}
    }
    all.extend(observed.revisions().iter().filter_map(of_revision));
    all
}

/// What may not be read, of which nothing can be said.
pub fn forbidden(observed: &Observed) -> impl Iterator<Item = Finding> {
    observed.forbidden.iter().map(|(kind, why)| {
        let message = format!("you may not list objects of kind {}: {why}", kind.kind);
        Finding::new("forbidden", message)
    })
}

/// MeshInstalls that this version cannot read.
pub fn unreadable(observed: &Observed) -> impl Iterator<Item = Finding> {
    observed.unreadable_installs().map(|(object, why)| {
        let (name, version) = (object.metadata.name.as_deref().unwrap_or_default(), &observed.place.version);
        let message = format!(
            "version {version} cannot read MeshInstall {name}: {why}; use the version that it was written for"
        );
        Finding::new("install-unreadable", message)
    })
}

fn of_operator(observed: &Observed) -> Option<Finding> {
    let namespace = &observed.place.namespace;
    let Some(found) = observed.object(&operator(&observed.place)) else {
        let message = format!(
            "there is no operator: `helm install isthmus charts/isthmus -n {namespace} --create-namespace`"
        );
        return observed.knows(object::DEPLOYMENT).then(|| Finding::new("no-operator", message));
    };
    let pods = rollout::missing(found)?;
    let help = format!("`kubectl -n {namespace} describe pods -l app.kubernetes.io/component=operator`");
    Some(Finding::new("operator-not-ready", format!("of the operator {pods}: {help} shows why")))
}

fn of_revision(revision: &MeshRevision) -> Option<Finding> {
    let name = revision.metadata.name.as_deref().unwrap_or_default();
    let conditions = revision.status.iter().flat_map(|status| &status.conditions);
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    let said = ready.map_or_else(
        || "the operator has not seen it yet".to_owned(),
        |ready| format!("{}: {}", ready.reason, ready.message),
    );
    let message = format!("MeshRevision {name}: {said}");
    let holds = ready.is_some_and(|ready| ready.status == "True");
    (!holds).then(|| Finding::new("revision-not-ready", message))
}

fn of_install(install: &MeshInstall) -> Vec<Finding> {
    let name = install.metadata.name.as_deref().unwrap_or_default();
    let status = install.status.clone().unwrap_or_default();
    if status.observed_generation != install.metadata.generation {
        let message = format!(
            "the operator has not seen the newest MeshInstall {name} yet: wait, or see its logs"
        );
        return vec![Finding::new("not-observed", message)];
    }
    let problem = |condition: &Condition| {
        let code = match condition.type_.as_str() {
            "Ready" => "not-ready",
            "ProxiesReady" => "proxies-not-ready",
            _ => return None,
        };
        let message = format!("{}: {}", condition.reason, condition.message);
        (condition.status != "True").then(|| Finding::new(code, message))
    };
    status.conditions.iter().filter_map(problem).collect()
}
