//! Where proxies find the replica that leads: the one EndpointSlice of the control plane's Service, which
//! has no selector.
//!
//! Written by the leader only, when it says something else than it should.

use std::{net::SocketAddr, time::Duration};

use isthmus_api_server::{Client, Leadership};
use isthmus_crds::names::OURS;
use k8s_openapi::{
    api::discovery::v1::{Endpoint as Pod, EndpointConditions, EndpointPort, EndpointSlice},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use tokio::time::sleep;

use super::{statuses::MANAGER, within};

/// Between two attempts that fail.
const RETRY: Duration = Duration::from_secs(1);
/// How often to look whether somebody has changed or deleted it.
const LOOK: Duration = Duration::from_secs(10);
/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The address of this replica.
pub(super) struct Endpoint {
    namespace: String,
    name: String,
    slice: EndpointSlice,
}

impl Endpoint {
    /// Proxies of the Service `name` call in at `address`; the slice goes when `owner` goes.
    pub(super) fn new(namespace: &str, name: &str, address: SocketAddr, owner: OwnerReference) -> Self {
        let labels =
            [("kubernetes.io/service-name", name), ("endpointslice.kubernetes.io/managed-by", OURS.1)];
        let slice = EndpointSlice {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            address_type: if address.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
            endpoints: Some(vec![Pod {
                addresses: vec![address.ip().to_string()],
                conditions: Some(EndpointConditions { ready: Some(true), ..<_>::default() }),
                ..Pod::default()
            }]),
            ports: Some(vec![EndpointPort {
                name: Some("xds".to_owned()),
                port: Some(address.port().into()),
                protocol: Some("TCP".to_owned()),
                ..EndpointPort::default()
            }]),
        };
        Self { namespace: namespace.to_owned(), name: name.to_owned(), slice }
    }

    /// Keeps the slice as it should be while this replica leads, for ever.
    pub(super) async fn keep(self, client: Client, mut leadership: Leadership) {
        let slices: Api<EndpointSlice> = Api::namespaced(client, &self.namespace);
        loop {
            leadership.gained().await;
            let wait = match within(PATIENCE, self.ensure(&slices, &leadership)).await {
                Ok(()) => LOOK,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "proxies cannot be told where this replica is");
                    RETRY
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = leadership.lost() => {}
            }
        }
    }

    async fn ensure(&self, slices: &Api<EndpointSlice>, leadership: &Leadership) -> kube::Result<()> {
        let there = slices.get_opt(&self.name).await?;
        let mut wanted = self.slice.clone();
        let same = there
            .as_ref()
            .is_some_and(|slice| slice.endpoints == wanted.endpoints && slice.ports == wanted.ports);
        if same || !leadership.holds() {
            return Ok(());
        }
        tracing::info!("proxies are sent to this replica");
        // Who led until a moment ago writes nothing over what another one has written since (case F5).
        wanted.metadata.resource_version = there.and_then(|slice| slice.metadata.resource_version);
        let parameters = PatchParams::apply(MANAGER).force();
        slices.patch(&self.name, &parameters, &Patch::Apply(&wanted)).await.map(drop)
    }
}
