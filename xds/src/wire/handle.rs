//! [`Handle`] on the wire.

use bytes::Bytes;
use isthmus_ir::{Handle, HandleTarget, Name};

use super::{
    Refusal,
    read::{all_parsed, features, message, parsed, set, write_all},
};
use crate::proto::proxy::{self, handle};

pub(super) fn encode(handle: &Handle) -> proxy::Handle {
    let Handle { name: _, callers, target } = handle;
    let target = match target {
        HandleTarget::Endpoint { service, endpoint } => {
            handle::Target::Endpoint(handle::EndpointTarget {
                service: service.to_string(),
                endpoint: endpoint.to_string(),
            })
        }
        HandleTarget::Service { service } => {
            handle::Target::Service(handle::ServiceTarget { service: service.to_string() })
        }
        HandleTarget::Passthrough { address } => handle::Target::Passthrough(address.to_string()),
    };
    proxy::Handle { callers: write_all(callers), target: Some(target), requires: Vec::new() }
}

pub(super) fn decode(name: Name, value: &Bytes) -> Result<Handle, Refusal> {
    let handle: proxy::Handle = message(value)?;
    features(&handle.requires)?;
    let target = match set("target", handle.target)? {
        handle::Target::Endpoint(handle::EndpointTarget { service, endpoint }) => {
            HandleTarget::Endpoint { service: service.into(), endpoint: endpoint.into() }
        }
        handle::Target::Service(handle::ServiceTarget { service }) => {
            HandleTarget::Service { service: service.into() }
        }
        handle::Target::Passthrough(address) => {
            HandleTarget::Passthrough { address: parsed("address", &address)? }
        }
    };
    Ok(Handle { name, callers: all_parsed("callers", &handle.callers)?, target })
}
