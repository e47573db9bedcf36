//! The GatewayClass whose Gateways are run by this install.

use isthmus_gateway::{CLASS, CONTROLLER};
use serde_json::json;

use crate::{
    mesh::Mesh,
    object::{self, Manifest},
};

/// The GatewayClass.
pub fn gateway_class(mesh: &Mesh) -> Manifest {
    let class = json!({
        "metadata": mesh.meta(object::GATEWAY_CLASS, "gateway", CLASS),
        "spec": {
            "controllerName": CONTROLLER,
            "description": "Gateways that Isthmus runs",
        },
    });
    Manifest::new(object::GATEWAY_CLASS, &class)
}
