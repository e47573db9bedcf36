//! `isthmus operator`: keeps the mesh of a cluster as its MeshInstall says.

use clap::Args;
use isthmus_operator::{observed::Place, run::run};

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
    #[arg(long, env = "ISTHMUS_IMAGE", default_value = "isthmus.dev/isthmus")]
    image: String,
    /// The image of the proxy where the MeshInstall names none, without a tag.
    #[arg(long, env = "ISTHMUS_PROXY_IMAGE", default_value = "isthmus.dev/proxy")]
    proxy_image: String,
}

impl Operator {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.cluster.connect().await?;
        let Self { namespace, image, proxy_image, pod, .. } = self;
        let place = Place { namespace, image, proxy_image, ..Place::default() };
        let (first, second) = signals()?;
        tokio::select! {
            () = run(client, place, &pod, first) => Ok(()),
            () = second => Ok(()),
        }
    }
}
