//! How proxies get their certificates: a signing request goes in with a proof, a chain comes out. What is
//! signed and for whom is the control plane's to decide.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use isthmus_ir::TrustDomain;
use tonic::{Request, Response, Status, async_trait};

use crate::{
    channel::{self, ChannelError},
    client::{Connect, Proof, ProofError},
    proto::ca::{
        self as proto, certificate_authority_client::CertificateAuthorityClient,
        certificate_authority_server::CertificateAuthority,
    },
    server::{Caller, Denied},
};

/// Signing takes less.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A certificate that was issued.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issued {
    /// DER, leaf first.
    pub chain: Vec<Bytes>,
    /// When the leaf ends, seconds since 1970.
    pub not_after: i64,
    /// The trust domain of the leaf.
    pub trust_domain: TrustDomain,
    /// Its roots, DER.
    pub roots: Vec<Bytes>,
}

/// Signs.
pub trait Issue: Send + Sync + 'static {
    /// A certificate for the public key of `csr` (PKCS #10, DER; not verified yet) and for the identity
    /// that the caller has proved.
    ///
    /// # Errors
    /// When the caller has proved nothing that counts, or the request is none.
    fn issue(
        &self,
        caller: Caller<'_>,
        csr: Bytes,
    ) -> impl Future<Output = Result<Issued, Denied>> + Send;
}

/// The service that proxies call.
#[derive(Debug)]
pub(crate) struct Authority<I> {
    pub(crate) issue: Arc<I>,
}

#[async_trait]
impl<I: Issue> CertificateAuthority for Authority<I> {
    async fn issue(
        &self,
        request: Request<proto::IssueRequest>,
    ) -> Result<Response<proto::IssueResponse>, Status> {
        let (metadata, extensions, proto::IssueRequest { csr }) = request.into_parts();
        let issued = self.issue.issue(Caller::new(&metadata, &extensions), csr).await;
        let issued = issued.map_err(|denied| {
            tracing::warn!(reason = %denied, "certificate refused");
            Status::permission_denied(denied.0)
        })?;
        let Issued { chain, not_after, trust_domain, roots } = issued;
        let trust_domain = trust_domain.to_string();
        Ok(Response::new(proto::IssueResponse { chain, not_after, trust_domain, roots }))
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The control plane cannot be reached: try again.
    #[error("the control plane cannot be reached")]
    Unreachable(#[source] ChannelError),
    /// There is nothing to prove ourselves with.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// It does not issue: try again later, and tell somebody.
    #[error("the control plane refuses to issue a certificate: {0}")]
    Refused(String),
    /// What it answered is no certificate.
    #[error("the control plane's answer makes no sense: {0}")]
    Invalid(&'static str),
}

/// Asks the control plane behind `connect` for a certificate. `proof` says who asks.
///
/// # Errors
/// When there is no proof, or the control plane cannot be reached, refuses, or makes no sense.
pub async fn request(connect: &impl Connect, proof: &Proof, csr: Bytes) -> Result<Issued, IssueError> {
    let mut request = Request::new(proto::IssueRequest { csr });
    request.set_timeout(TIMEOUT);
    proof.put(&mut request).await?;
    let channel = channel::open(connect).await.map_err(IssueError::Unreachable)?;
    let answer = CertificateAuthorityClient::new(channel).issue(request).await;
    let answer = answer.map_err(|status| IssueError::Refused(status.message().to_owned()))?;
    let proto::IssueResponse { chain, not_after, trust_domain, roots } = answer.into_inner();
    if chain.is_empty() || roots.is_empty() {
        return Err(IssueError::Invalid("it has no certificates"));
    }
    let trust_domain =
        trust_domain.parse().map_err(|_| IssueError::Invalid("it names no trust domain"))?;
    Ok(Issued { chain, not_after, trust_domain, roots })
}
