//! [`Listener`] on the wire.

use bytes::Bytes;
use isthmus_ir::{Listener, Name, Protocol};

use super::{
    Refusal,
    read::{
        all_parsed, features, filled, host, message, number, object, set, write_all, write_host,
        write_object,
    },
};
use crate::proto::proxy::{self, listener};

pub(super) fn encode(listener: &Listener) -> proxy::Listener {
    let Listener { name: _, gateway, section, addresses, port, hostname, protocol } = listener;
    proxy::Listener {
        gateway: Some(write_object(gateway)),
        section: section.clone(),
        addresses: write_all(addresses),
        port: u32::from(*port),
        hostname: Some(write_host(hostname)),
        protocol: Some(write_protocol(protocol)),
        requires: Vec::new(),
    }
}

fn write_protocol(protocol: &Protocol) -> listener::Protocol {
    match protocol {
        Protocol::Http => listener::Protocol::Http(listener::Http {}),
        Protocol::Https { certificates } => {
            listener::Protocol::Https(listener::Https { certificates: write_all(certificates) })
        }
        Protocol::EastWest => listener::Protocol::EastWest(listener::EastWest {}),
    }
}

pub(super) fn decode(name: Name, value: &Bytes) -> Result<Listener, Refusal> {
    let listener: proxy::Listener = message(value)?;
    features(&listener.requires)?;
    Ok(Listener {
        name,
        gateway: object(listener.gateway)?,
        section: listener.section,
        addresses: all_parsed("addresses", &listener.addresses)?,
        port: number("port", listener.port)?,
        hostname: host(set("hostname", listener.hostname)?)?,
        protocol: protocol(set("protocol", listener.protocol)?)?,
    })
}

fn protocol(protocol: listener::Protocol) -> Result<Protocol, Refusal> {
    Ok(match protocol {
        listener::Protocol::Http(listener::Http {}) => Protocol::Http,
        listener::Protocol::Https(listener::Https { certificates }) => {
            let certificates = filled("certificates", certificates)?;
            Protocol::Https { certificates: certificates.into_iter().map(Name::from).collect() }
        }
        listener::Protocol::EastWest(listener::EastWest {}) => Protocol::EastWest,
    })
}
