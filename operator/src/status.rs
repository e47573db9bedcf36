//! What people are told of an install: its conditions, what ran well last, and what it consists of.

use std::collections::BTreeMap;

use isthmus_crds::{InventoryEntry, MeshInstall, MeshInstallStatus};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::core::DynamicObject;
use serde_json::json;

use crate::{
    component::definitions,
    object::{self, Manifest, ObjectKey},
    observed::{InForce, Observed, SeenGateway},
    parameters::Parameters,
    plan::{Action, Step},
    revision::Choice,
    rollout::Rollout,
};

/// What was found out while planning.
#[derive(Clone, PartialEq, Debug)]
pub struct Findings {
    /// Which revision runs, and why.
    pub choice: Choice,
    /// How far the control plane is.
    pub control_plane: Rollout,
    /// How far the proxies of each Gateway are.
    pub proxies: BTreeMap<ObjectKey, Proxies>,
    /// Fields that others changed and that are left so.
    pub drifted: Vec<String>,
}

/// The proxies of a Gateway.
#[derive(Clone, PartialEq, Debug)]
pub struct Proxies {
    /// How far they are.
    pub rollout: Rollout,
    /// Whether that says something of the revision that they are to run with.
    pub counts: bool,
}

/// Something that is told once, as an event of the MeshInstall.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transition {
    /// Whether it is bad news.
    pub warning: bool,
    /// A word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// The status of `install` when it is not as it is to be, and what changed in it that is worth telling.
pub fn of(
    install: &MeshInstall,
    observed: &Observed,
    findings: Findings,
    inventory: Vec<InventoryEntry>,
) -> (Option<Manifest>, Vec<Transition>) {
    let old = install.status.clone().unwrap_or_default();
    let conditions = verdicts(observed, &findings);
    let observed_generation = install.metadata.generation;
    let condition = |verdict| condition(verdict, &old.conditions, observed_generation, observed);
    let conditions = conditions.into_iter().map(condition).collect();
    let Choice { healthy, failed, .. } = findings.choice;
    let new = MeshInstallStatus { observed_generation, conditions, healthy, failed, inventory };
    let transitions = transitions(&old, &new);
    ((new != old).then(|| manifest(install, &new)), transitions)
}

/// Statuses of MeshInstalls that are not in force, and of those that cannot be read.
pub fn of_others(observed: &Observed) -> Vec<Step> {
    let in_force = match observed.in_force() {
        InForce::Nobody => String::new(),
        InForce::Install(install) => install.metadata.name.unwrap_or_default(),
        InForce::Unreadable(name) => name,
    };
    let installs = observed.installs();
    let others = installs.iter().filter(|install| install.metadata.name.as_ref() != Some(&in_force));
    let others = others.filter_map(|install| superseded(install, &in_force, observed));
    let unread = observed.unreadable_installs();
    let unread = unread.filter_map(|(object, why)| unreadable(object, &why, observed));
    let all = others.chain(unread);
    all.map(|manifest| Step { unit: None, action: Action::Status(manifest) }).collect()
}

/// The status of a MeshInstall that is not in force, since `other` is older.
fn superseded(install: &MeshInstall, other: &str, observed: &Observed) -> Option<Manifest> {
    let message =
        format!("MeshInstall {other} is older and in force: a cluster has one mesh; delete one of them");
    let old = install.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let verdict = Verdict::no("Ready", "AnotherInstall", message);
    let ready = condition(verdict, old, install.metadata.generation, observed);
    let new = MeshInstallStatus {
        observed_generation: install.metadata.generation,
        conditions: vec![ready],
        ..MeshInstallStatus::default()
    };
    (install.status.as_ref() != Some(&new)).then(|| manifest(install, &new))
}

/// The status of a MeshInstall that cannot be read: that nothing is done for it, and why (case F11).
fn unreadable(object: &DynamicObject, why: &str, observed: &Observed) -> Option<Manifest> {
    let meta = &object.metadata;
    let mut install = MeshInstall::new(meta.name.as_deref().unwrap_or_default(), <_>::default());
    install.metadata = meta.clone();
    install.status =
        object.data.get("status").and_then(|status| serde_json::from_value(status.clone()).ok());
    let verdict = Verdict::no("Ready", "Unreadable", cannot_read(why, observed));
    only_ready(&install, verdict, observed)
}

/// Why nothing is done for an object that cannot be read.
pub(crate) fn cannot_read(why: &str, observed: &Observed) -> String {
    format!(
        "this operator, of version {}, cannot read it, and leaves everything as it is: {why}; remove what \
         a later version has brought, or upgrade the operator",
        observed.place.version
    )
}

/// The reason that [`uninstalling`] gives.
const UNINSTALLING: &str = "Uninstalling";

/// The status of a MeshInstall that is to be deleted, while `left` is still there.
pub(crate) fn uninstalling(
    install: &MeshInstall,
    left: &[String],
    observed: &Observed,
) -> (Option<Manifest>, Vec<Transition>) {
    let verdict = Verdict::no("Ready", UNINSTALLING, format!("still there: {}", list(left)));
    let first = ends_since(install).is_none().then(|| Transition {
        warning: false,
        reason: UNINSTALLING.to_owned(),
        message: verdict.message.clone(),
    });
    (only_ready(install, verdict, observed), first.into_iter().collect())
}

/// Since when it is told that `install` is uninstalled. By that its end is timed, so that an operator which
/// was away in between begins in order.
pub(crate) fn ends_since(install: &MeshInstall) -> Option<Timestamp> {
    let conditions = install.status.iter().flat_map(|status| &status.conditions);
    let told = conditions.into_iter().find(|one| one.type_ == "Ready" && one.reason == UNINSTALLING);
    told.map(|told| told.last_transition_time.0)
}

/// The status of `install` with this condition alone, when it is not so already.
fn only_ready(install: &MeshInstall, verdict: Verdict, observed: &Observed) -> Option<Manifest> {
    let begins = verdict.reason == UNINSTALLING && ends_since(install).is_none();
    let mut new = install.status.clone().unwrap_or_default();
    let mut ready = condition(verdict, &new.conditions, install.metadata.generation, observed);
    if begins {
        ready.last_transition_time = Time(observed.now);
    }
    new.observed_generation = install.metadata.generation;
    new.conditions = vec![ready];
    (install.status.as_ref() != Some(&new)).then(|| manifest(install, &new))
}

fn manifest(install: &MeshInstall, status: &MeshInstallStatus) -> Manifest {
    let meta = json!({ "name": install.metadata.name, "uid": install.metadata.uid });
    Manifest::bare(object::MESH_INSTALL, &json!({ "metadata": meta, "status": status }))
}

/// An object as a line of the inventory.
pub fn entry(key: &ObjectKey) -> InventoryEntry {
    InventoryEntry {
        group: key.kind.group.to_owned(),
        kind: key.kind.kind.to_owned(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    }
}

pub(crate) struct Verdict {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Verdict {
    pub(crate) fn yes(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, holds: true, reason, message: message.into() }
    }

    pub(crate) fn no(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, holds: false, reason, message: message.into() }
    }
}

fn verdicts(observed: &Observed, findings: &Findings) -> Vec<Verdict> {
    let gateway_api = gateway_api(observed);
    let ready = ready(observed, findings, &gateway_api);
    // What does not get better by waiting is told to tools in their own word.
    let stalled = matches!(ready.reason, "RolledBack" | "Failed")
        .then(|| Verdict::yes("Stalled", ready.reason, ready.message.clone()));
    let drifted = (!findings.drifted.is_empty())
        .then(|| Verdict::yes("Drifted", "ChangedByOthers", list(&findings.drifted)));
    let proxies = proxies(observed, findings);
    [ready, proxies, gateway_api].into_iter().chain(stalled).chain(drifted).collect()
}

fn gateway_api(observed: &Observed) -> Verdict {
    const KIND: &str = "GatewayAPISupported";
    if !observed.knows(object::DEFINITION) {
        return Verdict::no(KIND, "Forbidden", "definitions may not be read");
    }
    if let Some((reason, message)) = definitions::gateway_api_problem(observed) {
        return Verdict::no(KIND, reason, message);
    }
    let version = definitions::gateway_api_version(observed);
    Verdict::yes(KIND, "Supported", format!("Gateway API {}", version.unwrap_or_default()))
}

fn ready(observed: &Observed, findings: &Findings, gateway_api: &Verdict) -> Verdict {
    const KIND: &str = "Ready";
    let own = &observed.place.namespace;
    if let Some(message) = failures(observed, |key, unit| is_of_install(key, unit, own)).next() {
        return Verdict::no(KIND, "ApplyFailed", message);
    }
    if let Some(message) = definitions::outdated(observed) {
        return Verdict::no(KIND, "DefinitionsOutdated", message);
    }
    if let Some((kind, why)) = observed.forbidden.iter().next() {
        let message = format!(
            "objects of kind {} may not be read, and none of them is kept: {why}; give the operator its \
             rights back",
            kind.kind
        );
        return Verdict::no(KIND, "Forbidden", message);
    }
    if let Some(failed) = &findings.choice.failed {
        let (was, is) = (&failed.revision.version, &findings.choice.target.version);
        let message = format!(
            "what is asked for (version {was}) did not run, and what ran before (version {is}) runs again \
             ({}); change the MeshInstall to try again",
            failed.message
        );
        return Verdict::no(KIND, "RolledBack", message);
    }
    if let Some(message) = findings.control_plane.missing() {
        return Verdict::no(KIND, reason([&findings.control_plane]), message);
    }
    if let Some(verdict) = behind(findings) {
        return verdict;
    }
    if !gateway_api.holds {
        return Verdict::no(KIND, gateway_api.reason, gateway_api.message.clone());
    }
    Verdict::yes(KIND, "InForce", format!("version {} runs", findings.choice.target.version))
}

/// That the control plane runs what is asked for, and proxies that ran before do not yet.
fn behind(findings: &Findings) -> Option<Verdict> {
    if !findings.choice.is_unproven() {
        return None;
    }
    let counted = findings.proxies.values().filter(|proxies| proxies.counts);
    let missing = counted.clone().filter_map(|proxies| proxies.rollout.missing());
    let missing: Vec<String> = missing.map(str::to_owned).collect();
    let reason = reason(counted.map(|proxies| &proxies.rollout));
    let version = &findings.choice.target.version;
    let message =
        format!("the control plane runs version {version}, and proxies do not: {}", list(&missing));
    (!missing.is_empty()).then(|| Verdict::no("Ready", reason, message))
}

/// The reason why some of these do not run.
pub(crate) fn reason<'a>(rollouts: impl IntoIterator<Item = &'a Rollout>) -> &'static str {
    if rollouts.into_iter().any(Rollout::is_failed) { "Failed" } else { "Progressing" }
}

/// What could not be written, in sentences, of those objects and units.
pub(crate) fn failures<'a>(
    observed: &'a Observed,
    of: impl Fn(&ObjectKey, Option<&ObjectKey>) -> bool + 'a,
) -> impl Iterator<Item = String> + 'a {
    let failed = observed.failures.iter().filter(move |(key, failure)| of(key, failure.unit.as_ref()));
    failed.map(|(key, failure)| format!("{key} cannot be written: {failure}"))
}

fn is_of_install(key: &ObjectKey, unit: Option<&ObjectKey>, own: &str) -> bool {
    unit.is_none_or(|unit| unit.kind == object::MESH_INSTALL) && !is_elsewhere(key, own)
}

fn is_of_gateway(key: &ObjectKey, unit: Option<&ObjectKey>, own: &str) -> bool {
    unit.map_or(is_elsewhere(key, own), |unit| unit.kind == object::GATEWAY)
}

/// Whether it is in a namespace of others, where all that is made is for their Gateways.
fn is_elsewhere(key: &ObjectKey, own: &str) -> bool {
    !key.namespace.is_empty() && key.namespace != own
}

fn proxies(observed: &Observed, findings: &Findings) -> Verdict {
    const KIND: &str = "ProxiesReady";
    let rollouts = || findings.proxies.values().map(|proxies| &proxies.rollout);
    let own = &observed.place.namespace;
    let failed = failures(observed, |key, unit| is_of_gateway(key, unit, own));
    let failed: Vec<String> = failed.collect();
    let left = observed.gateways().into_iter().filter_map(|seen| left_as_it_is(&seen, observed));
    let reason = if failed.is_empty() { reason(rollouts()) } else { "Failed" };
    let failed = failed.into_iter().chain(rollouts().filter(|one| one.is_failed()).filter_map(text));
    let waiting = rollouts().filter(|one| !one.is_failed()).filter_map(text);
    let missing: Vec<String> = failed.chain(left).chain(waiting).collect();
    match (missing.len(), findings.proxies.len()) {
        (0, 0) => Verdict::yes(KIND, "NoGateways", "there is no Gateway of this mesh"),
        (0, all) => Verdict::yes(KIND, "Running", format!("the proxies of all {all} Gateways run")),
        _ => Verdict::no(KIND, reason, list(&missing)),
    }
}

fn text(rollout: &Rollout) -> Option<String> {
    rollout.missing().map(str::to_owned)
}

/// Why nothing is done for a Gateway, if so.
fn left_as_it_is(seen: &SeenGateway<'_>, observed: &Observed) -> Option<String> {
    let key = seen.key;
    if seen.fact.is_none() {
        return Some(format!("{key} cannot be read"));
    }
    let told = "its conditions and those of its class say why";
    Parameters::of(seen, observed)
        .is_none()
        .then(|| format!("{key} has parameters that cannot be used: {told}"))
}

/// The first few of `all`, and how many more there are.
pub(crate) fn list(all: &[String]) -> String {
    const FEW: usize = 3;
    let few = all.iter().take(FEW).cloned().collect::<Vec<_>>().join("; ");
    match all.len().saturating_sub(FEW) {
        0 => few,
        more => format!("{few}; and {more} more"),
    }
}

/// The condition for a verdict; its time moves only when its status does.
pub(crate) fn condition(
    verdict: Verdict,
    old: &[Condition],
    generation: Option<i64>,
    observed: &Observed,
) -> Condition {
    let status = if verdict.holds { "True" } else { "False" };
    let old = old.iter().find(|old| old.type_ == verdict.kind && old.status == status);
    Condition {
        type_: verdict.kind.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.to_owned(),
        message: verdict.message,
        observed_generation: generation,
        last_transition_time: old.map_or(Time(observed.now), |old| old.last_transition_time.clone()),
    }
}

fn transitions(old: &MeshInstallStatus, new: &MeshInstallStatus) -> Vec<Transition> {
    let before = |kind: &str| old.conditions.iter().find(|old| old.type_ == kind);
    let news = new.conditions.iter().filter(|new| new.type_ != "Stalled");
    let news = news.filter(|new| before(&new.type_).is_none_or(|old| old.reason != new.reason));
    let news = news.map(|new| Transition {
        warning: new.status == "False" && new.reason != "Progressing" || new.type_ == "Drifted",
        reason: new.reason.clone(),
        message: new.message.clone(),
    });
    news.collect()
}
