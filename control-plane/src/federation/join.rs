//! The joiner's side: from a token to an answer of the cluster that made it.

use std::net::SocketAddr;

use futures_util::FutureExt as _;
use isthmus_east_west::{
    invite::{JoinError, JoinResponse, Joining, Member, Token},
    trust::undialable,
};
use isthmus_world::fact::MeshSettings;
use isthmus_xds::federation::{self, JoinFailure};

use super::{
    FederationError,
    bridge::{member, message},
    dial::{connect, reason},
    network::Network,
    svid::Svid,
    trust::{OfToken, PIN},
};

/// Redeems the token at the first of its addresses that answers. Nothing is kept here.
pub(super) async fn redeem(
    token: &Token,
    joining: &Joining,
    settings: &MeshSettings,
    network: &Network,
    svid: &Svid,
) -> Result<Member, FederationError> {
    let mut tried = Vec::new();
    for address in joining.addresses().to_vec() {
        if let Some(why) = undialable(settings, address) {
            tried.push((address, why.to_owned()));
            continue;
        }
        match at(address, token, joining, network, svid).await {
            Ok(member) => return Ok(member),
            Err(Failed::Here(why)) => tried.push((address, why)),
            Err(Failed::Everywhere(error)) => return Err(error),
        }
    }
    Err(FederationError::Unreachable { cluster: token.cluster.clone(), tried })
}

/// Why nothing came of an address.
enum Failed {
    /// Another one may answer.
    Here(String),
    Everywhere(FederationError),
}

impl<E: Into<FederationError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Everywhere(error.into())
    }
}

async fn at(
    address: SocketAddr,
    token: &Token,
    joining: &Joining,
    network: &Network,
    svid: &Svid,
) -> Result<Member, Failed> {
    let believe = OfToken { joining: joining.clone(), trust_domain: token.trust_domain.clone() };
    let credentials = svid.current();
    let connected = connect(address, believe, network.clone(), credentials).await;
    let (io, channel) = connected.map_err(|error| {
        if is_other_server(&error) {
            JoinError::WrongServer.into()
        } else {
            Failed::Here(reason(&error))
        }
    })?;
    let request = joining.request(&channel);
    let request = federation::JoinRequest {
        invitation: request.invitation.0,
        member: message(request.member),
        proof: request.proof.to_vec().into(),
    };
    let answer = federation::join(io, request).boxed().await.map_err(|failure| match failure {
        JoinFailure::Refused(reason) => {
            FederationError::Refused { cluster: token.cluster.clone(), reason }.into()
        }
        JoinFailure::Invalid(why) => JoinError::Invalid(why).into(),
        // Asking again elsewhere does no harm: the same cluster may.
        JoinFailure::Unreachable(why) => Failed::Here(why),
    })?;
    let proof = answer.proof.as_ref().try_into().map_err(|_| JoinError::Forged)?;
    let response = JoinResponse { member: member(answer.member), proof };
    Ok(joining.finish(&channel, response)?)
}

/// Whether TLS found that the server is not who made the token.
fn is_other_server(error: &std::io::Error) -> bool {
    let rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(why))) = rustls else {
        return false;
    };
    why.0.downcast_ref::<isthmus_identity::Untrusted>() == Some(&PIN)
}
