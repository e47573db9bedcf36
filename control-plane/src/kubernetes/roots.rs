//! The ConfigMap by which pods learn the root that vouches for their control plane: one in the mesh's own
//! namespace, and one in each that has a Gateway of ours.
//!
//! Written by the leader only, and only where it says something else than it should.

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use isthmus_api_server::{Client, Leadership};
use isthmus_crds::names::{OURS, ROOT};
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams},
    core::Status,
};
use tokio::{sync::watch, time::timeout};

use super::{statuses::MANAGER, within};

const KEY: &str = "root.pem";
/// Between two attempts that fail.
const RETRY: Duration = Duration::from_secs(1);
/// How often to look whether somebody has changed or deleted one.
const LOOK: Duration = Duration::from_mins(1);
/// How long one attempt may take: what is stuck must not keep others waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps them as they should be, for as long as somebody says which there are.
pub(super) async fn publish(
    client: Client,
    mut leadership: Leadership,
    own: String,
    owner: OwnerReference,
    roots: Vec<Bytes>,
    mut namespaces: watch::Receiver<BTreeSet<String>>,
) {
    let pem: String = roots.iter().map(|root| pem(root)).collect();
    let mut again = RETRY;
    loop {
        leadership.gained().await;
        let mut all = namespaces.borrow_and_update().clone();
        all.insert(own.clone());
        let mut failed = false;
        for namespace in all {
            let ensuring = ensure(&client, &leadership, &namespace, &pem, &owner);
            if let Err(error) = within(PATIENCE, ensuring).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(namespace, error, "the root cannot be written");
                failed = true;
            }
        }
        // One namespace that takes none must not have all of them read every second.
        let wait = if failed { again } else { LOOK };
        again = if failed { (again * 2).min(LOOK) } else { RETRY };
        if let Ok(Err(_)) = timeout(wait, namespaces.changed()).await {
            return;
        }
    }
}

async fn ensure(
    client: &Client,
    leadership: &Leadership,
    namespace: &str,
    pem: &str,
    owner: &OwnerReference,
) -> kube::Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let there = maps.get_opt(ROOT).await?;
    let same =
        there.and_then(|map| map.data).is_some_and(|data| data.get(KEY).is_some_and(|p| p == pem));
    if same || !leadership.holds() {
        return Ok(());
    }
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(ROOT.to_owned()),
            labels: Some([(OURS.0.to_owned(), OURS.1.to_owned())].into()),
            owner_references: Some(vec![owner.clone()]),
            ..ObjectMeta::default()
        },
        data: Some([(KEY.to_owned(), pem.to_owned())].into()),
        ..ConfigMap::default()
    };
    match maps.patch(ROOT, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&map)).await {
        Err(kube::Error::Api(status)) if is_ending(&status) => {
            tracing::debug!(namespace, "no root for a namespace that is ending");
            Ok(())
        }
        written => written.map(drop),
    }
}

/// Whether nothing can be made in a namespace because it is going, or gone: its Gateways go with it, and to
/// try again would help nobody (case F16).
fn is_ending(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let going = causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating");
    going || status.code == 404
}

fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
