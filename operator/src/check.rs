//! What is wrong with a mesh, or would be with one that is to be installed: stable codes, and sentences
//! that say what to do.

use isthmus_crds::{MeshInstall, MeshRevision};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{component::definitions, observe::operator, observed::Observed, rollout};

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What it is called, for ever.
    pub code: &'static str,
    /// What is wrong, and what to do.
    pub message: String,
}

/// What stands in the way of an install.
pub fn before(observed: &Observed) -> Vec<Finding> {
    let gateway_api = definitions::gateway_api_problem(observed);
    gateway_api.map(|(_, message)| Finding { code: "gateway-api", message }).into_iter().collect()
}

/// What is wrong with the mesh.
pub fn after(observed: &Observed) -> Vec<Finding> {
    let mut all = before(observed);
    let namespace = &observed.place.namespace;
    let finding = |code, message: String| Finding { code, message };
    match observed.object(&operator(&observed.place)) {
        None => all.push(finding(
            "no-operator",
            format!("there is no operator: `helm install isthmus charts/isthmus -n {namespace} --create-namespace`"),
        )),
        Some(found) => all.extend(rollout::missing(found).map(|pods| {
            let help = format!("`kubectl -n {namespace} describe pods -l app.kubernetes.io/component=operator`");
            finding("operator-not-ready", format!("of the operator {pods}: {help} shows why"))
        })),
    }
    let Some(install) = observed.install() else {
        all.push(finding("no-install", "there is no MeshInstall: `isthmus install`".to_owned()));
        return all;
    };
    all.extend(of_install(&install));
    all.extend(observed.revisions().iter().filter_map(of_revision));
    all
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
    (!holds).then_some(Finding { code: "revision-not-ready", message })
}

fn of_install(install: &MeshInstall) -> Vec<Finding> {
    let name = install.metadata.name.as_deref().unwrap_or_default();
    let status = install.status.clone().unwrap_or_default();
    if status.observed_generation != install.metadata.generation {
        let message = format!(
            "the operator has not seen the newest MeshInstall {name} yet: wait, or see its logs"
        );
        return vec![Finding { code: "not-observed", message }];
    }
    let problem = |condition: &Condition| {
        let code = match condition.type_.as_str() {
            "Ready" => "not-ready",
            "ProxiesReady" => "proxies-not-ready",
            _ => return None,
        };
        let message = format!("{}: {}", condition.reason, condition.message);
        (condition.status != "True").then_some(Finding { code, message })
    };
    status.conditions.iter().filter_map(problem).collect()
}
