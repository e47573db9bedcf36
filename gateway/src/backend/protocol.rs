//! What is spoken to a port: `appProtocol` (GEP-1911, KEP-3726), or HTTP/1.1 when nothing is said.

use isthmus_ir::BackendProtocol;
use isthmus_world::fact::ServicePort;

/// What an HTTP route speaks to `port`.
///
/// # Errors
/// When it cannot carry requests: a text for a condition.
pub(crate) fn protocol(port: &ServicePort) -> Result<BackendProtocol, String> {
    if port.protocol != "TCP" {
        return Err(format!(
            "port {} has protocol {}, and requests travel over TCP",
            port.port, port.protocol
        ));
    }
    BackendProtocol::of_app_protocol(port.app_protocol.as_deref()).ok_or_else(|| {
        format!(
            "port {} has appProtocol {}; supported are http, kubernetes.io/h2c and kubernetes.io/ws",
            port.port,
            port.app_protocol.as_deref().unwrap_or_default()
        )
    })
}
