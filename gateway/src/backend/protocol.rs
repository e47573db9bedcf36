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
    match port.app_protocol.as_deref() {
        // WebSocket is HTTP/1.1 with an upgrade.
        None | Some("http" | "kubernetes.io/ws") => Ok(BackendProtocol::Http1),
        // The last two are no registered names, but they are common, and mean HTTP/2 in clear text.
        Some("kubernetes.io/h2c" | "http2" | "grpc") => Ok(BackendProtocol::H2c),
        Some(other) => Err(format!(
            "port {} has appProtocol {other}; supported are http, kubernetes.io/h2c and kubernetes.io/ws",
            port.port
        )),
    }
}
