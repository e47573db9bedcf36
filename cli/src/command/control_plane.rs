//! `isthmus control-plane`: the control plane of a Kubernetes cluster, in a pod.

use std::net::{IpAddr, SocketAddr};

use clap::Args;
use isthmus_control_plane::kubernetes::{self, KubernetesError, Options};

use crate::failure::Failure;

/// Run the control plane of a Kubernetes cluster. The operator starts it in a pod.
#[derive(Args)]
pub(crate) struct ControlPlane {
    /// The MeshInstall that says what the mesh is.
    #[arg(long, value_name = "NAME")]
    mesh_install: String,
    /// The MeshRevision that this is the control plane of. Without it, it is the MeshInstall's own.
    #[arg(long, value_name = "NAME")]
    revision: Option<String>,
    /// The namespace of this pod.
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    namespace: String,
    /// The name of this pod.
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pod: String,
    /// The address of this pod, at which the Service of the control plane finds it while it leads; without
    /// it the Service is somebody else's to keep.
    #[arg(long, value_name = "IP", env = "POD_IP")]
    address: Option<IpAddr>,
    /// Where proxies call in.
    #[arg(long, value_name = "IP:PORT", default_value = "[::]:15012")]
    listen: SocketAddr,
    /// Where `/ready` and `/live` are answered.
    #[arg(long, value_name = "IP:PORT", default_value = "[::]:15021")]
    ready_address: SocketAddr,
}

impl ControlPlane {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let options = Options {
            install: self.mesh_install,
            revision: self.revision,
            namespace: self.namespace,
            pod: self.pod,
            address: self.address,
            listen: self.listen,
            ready: self.ready_address,
        };
        let (ended, _) = super::run::signals()?;
        Ok(kubernetes::run(options, ended).await?)
    }
}

impl From<KubernetesError> for Failure {
    fn from(error: KubernetesError) -> Self {
        match error {
            KubernetesError::Connect(_) => Self::invalid(&error),
            error => Self::internal(&error),
        }
    }
}
