//! `isthmus translate`: what proxies would be told, and every status, without running.

use clap::{Args, ValueEnum};
use isthmus_compiler::{StatusChange, Translation};
use isthmus_ir::Resource;
use isthmus_world::fact::{ExportedPort, ExportedService};
use serde_json::{Value, json};

use super::Files;
use crate::{
    failure::Failure,
    manifests::Manifests,
    output::{print_json, print_yaml},
};

/// Print what proxies would be told, and every status, without running.
///
/// Errors of the manifests go to standard error, and the exit code is 1 then; what follows from the rest
/// is printed all the same.
#[derive(Args)]
pub(crate) struct Translate {
    #[command(flatten)]
    files: Files,
    /// Format.
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    output: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Json,
    Yaml,
}

impl Translate {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let mut manifests = Manifests::read(self.files.paths())?;
        let translation = manifests.translate();
        super::complain(&manifests.diagnostics);
        let shown = shown(&translation);
        match self.output {
            Format::Json => print_json(&shown)?,
            Format::Yaml => print_yaml(&[shown])?,
        }
        if manifests.are_valid() { Ok(()) } else { Err(Failure::Invalid(String::new())) }
    }
}

fn shown(translation: &Translation) -> Value {
    let scope = |(name, resources): (_, &Vec<Resource>)| json!({"name": name, "resources": resources.iter().map(resource).collect::<Vec<_>>()});
    json!({
        "scopes": translation.scopes.iter().map(scope).collect::<Vec<_>>(),
        "statuses": translation.statuses.iter().map(status).collect::<Vec<_>>(),
        "exports": translation.exports.iter().map(|export| exported(export)).collect::<Vec<_>>(),
    })
}

fn status(of: &StatusChange) -> Value {
    let mut shown = json!({"kind": of.kind.as_str(), "name": of.object.name, "status": of.status});
    if let (false, Some(shown)) = (of.object.namespace.is_empty(), shown.as_object_mut()) {
        shown.insert("namespace".to_owned(), json!(of.object.namespace));
    }
    shown
}

/// A resource without what must not be shown: a certificate's key has no serialized form at all.
fn resource(of: &Resource) -> Value {
    let shown = match of {
        Resource::Listener(r) => json!(r),
        Resource::Route(r) => json!(r),
        Resource::Handle(r) => json!(r),
        Resource::Service(r) => json!(r),
        Resource::Endpoints(r) => json!(r),
        Resource::Peer(r) => json!(r),
        Resource::Certificate(r) => {
            json!({"name": r.name, "certificates": r.chain.len(), "key": "(redacted)"})
        }
        Resource::TrustBundle(r) => json!({"trust_domain": r.trust_domain, "roots": r.roots.len()}),
    };
    json!({"kind": of.key().kind.as_str(), "resource": shown})
}

/// What peers would be shown; handles are left out, as they are those of no running cluster.
fn exported(service: &ExportedService) -> Value {
    let port = |port: &ExportedPort| {
        json!({
            "name": port.name,
            "port": port.port,
            "protocol": port.protocol,
            "appProtocol": port.app_protocol,
            "endpoints": port.endpoints.len(),
        })
    };
    json!({
        "namespace": service.namespace,
        "name": service.name,
        "ports": service.ports.iter().map(port).collect::<Vec<_>>(),
    })
}
