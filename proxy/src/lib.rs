//! The data plane: one program in the roles ingress gateway, east-west gateway and, later, sidecar.

pub mod http1;
pub mod http2;
