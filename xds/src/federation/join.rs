//! The two messages of a join. What they prove is not this crate's to know.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use isthmus_ir::TrustDomain;

use crate::proto::federation as proto;

/// What two clusters must know of each other before they can authenticate each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its cluster id.
    pub cluster: Arc<str>,
    /// Its trust domain.
    pub trust_domain: TrustDomain,
    /// Its roots, DER.
    pub roots: Vec<Bytes>,
    /// Its east-west gateways; none when it cannot be reached.
    pub gateways: Vec<SocketAddr>,
}

/// A cluster asks to be let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinRequest {
    /// Which invite it redeems.
    pub invitation: String,
    /// Who it is.
    pub member: Member,
    /// That it knows the invite's secret.
    pub proof: Bytes,
}

/// It is let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinResponse {
    /// Who lets it in.
    pub member: Member,
    /// That this one knows the secret too.
    pub proof: Bytes,
}

impl JoinRequest {
    pub(super) fn encode(self) -> proto::JoinRequest {
        let Self { invitation, member, proof } = self;
        proto::JoinRequest { invitation, member: Some(member.encode()), proof }
    }

    pub(super) fn decode(request: proto::JoinRequest) -> Result<Self, String> {
        let proto::JoinRequest { invitation, member, proof } = request;
        Ok(Self { invitation, member: Member::decode(member)?, proof })
    }
}

impl JoinResponse {
    pub(super) fn encode(self) -> proto::JoinResponse {
        let Self { member, proof } = self;
        proto::JoinResponse { member: Some(member.encode()), proof }
    }

    pub(super) fn decode(response: proto::JoinResponse) -> Result<Self, String> {
        let proto::JoinResponse { member, proof } = response;
        Ok(Self { member: Member::decode(member)?, proof })
    }
}

impl Member {
    fn encode(self) -> proto::Member {
        let Self { cluster, trust_domain, roots, gateways } = self;
        proto::Member {
            cluster: cluster.as_ref().to_owned(),
            trust_domain: trust_domain.to_string(),
            roots,
            gateways: gateways.iter().map(ToString::to_string).collect(),
        }
    }

    fn decode(member: Option<proto::Member>) -> Result<Self, String> {
        let proto::Member { cluster, trust_domain, roots, gateways } =
            member.ok_or("it names no member")?;
        let address = |text: &String| {
            text.parse().map_err(|_| format!("the gateway {text:?} is no address with a port"))
        };
        Ok(Self {
            cluster: cluster.into(),
            trust_domain: trust_domain.parse().map_err(|e| format!("{e}"))?,
            roots,
            gateways: gateways.iter().map(address).collect::<Result<_, _>>()?,
        })
    }
}
