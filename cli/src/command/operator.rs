//! `isthmus operator`: keeps the mesh of a cluster as its MeshInstall says.

use clap::Args;
use isthmus_operator::{
    place::{self, Place, Pull},
    run::run,
};

use super::{Cluster, run::signals};
use crate::failure::Failure;

/// Run the operator of a Kubernetes cluster, as its pod does.
///
/// It installs what the MeshInstall asks for and runs proxies for each Gateway. Of several replicas one
/// acts. SIGTERM and SIGINT end it; what it installed stays.
#[derive(Args)]
pub(crate) struct Operator {
    #[command(flatten)]
    cluster: Cluster,
    /// The namespace of the mesh's own parts.
    #[arg(long, env = "POD_NAMESPACE", default_value = isthmus_crds::names::NAMESPACE)]
    namespace: String,
    /// What this replica is called.
    #[arg(long, env = "POD_NAME", default_value = "isthmus-operator")]
    pod: String,
    /// The image of the control plane where the MeshInstall names none, without a tag.
    #[arg(long, env = place::IMAGE, default_value = "isthmus.dev/isthmus")]
    image: String,
    /// The image of the proxy where the MeshInstall names none, without a tag.
    #[arg(long, env = place::PROXY_IMAGE, default_value = "isthmus.dev/proxy")]
    proxy_image: String,
    /// The tag of both where the MeshInstall says no version.
    #[arg(long, env = place::TAG, default_value = env!("CARGO_PKG_VERSION"))]
    tag: String,
    /// When nodes fetch an image.
    #[arg(long, env = place::PULL_POLICY, default_value = "IfNotPresent",
        value_parser = ["Always", "IfNotPresent", "Never"])]
    pull_policy: String,
    /// Names of Secrets with credentials of registries, which each namespace with a Gateway has.
    #[arg(long, env = place::PULL_SECRETS, value_delimiter = ',')]
    pull_secrets: Vec<String>,
}

impl Operator {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.cluster.connect().await?;
        let Self { namespace, image, proxy_image, tag, pull_policy, pull_secrets, pod, .. } = self;
        let pull = Pull { policy: pull_policy, secrets: pull_secrets };
        let place = Place { namespace, image, proxy_image, tag, pull, ..Place::default() };
        let (first, second) = signals()?;
        tokio::select! {
            () = run(client, place, &pod, first) => Ok(()),
            () = second => Ok(()),
        }
    }
}
