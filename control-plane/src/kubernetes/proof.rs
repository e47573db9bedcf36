//! Who a proxy in a pod is: by its service account's token, which the API server reviews, when it asks for
//! a certificate; and by that certificate from then on, so that a proxy comes back while the API server is
//! away (cases E7, E8).
//!
//! A service account stands for the Gateway that it was made for. Whoever may run pods under it may serve
//! for that Gateway: both are in the same namespace, and have the same owner.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use isthmus_api_server::Client;
use isthmus_compiler::gateway_of;
use isthmus_crds::names::{AUDIENCE, CONTROL_PLANE, of_gateway};
use isthmus_identity::{Anchors, Optional, crypto_provider};
use isthmus_ir::{Name, ObjectRef, SpiffeId};
use isthmus_xds::{
    ca::{Issue, Issued},
    server::{Authenticate, Caller, Denied, Proxy, Role},
    tls::{self, Peer},
};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::{Api, api::PostParams};
use rustls::{ServerConfig, sign::CertifiedKey};
use tokio::{
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::KubernetesError;
use crate::{
    ca::{Authority, LEAF_LIFE},
    tokens::now,
};

/// Where the API server says which pod a token was made for.
const POD: &str = "authentication.kubernetes.io/pod-name";
/// When a renewal that failed is tried again.
const RETRY: Duration = Duration::from_mins(1);
/// Tokens that may be with the API server at once: anybody who reaches the port can send one.
const REVIEWS: usize = 16;
/// How long a review may take, the wait for its turn included.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which service account stands for which Gateway's scope. Cloning copies a pointer.
#[derive(Clone, Debug, Default)]
pub(super) struct Gateways(Arc<RwLock<HashMap<ObjectRef, Name>>>);

impl Gateways {
    /// These are the scopes from now on.
    pub(super) fn replace(&self, scopes: &BTreeSet<Name>) {
        let accounts = scopes.iter().filter_map(|scope| Some((account(scope)?, scope.clone())));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = accounts.collect();
    }

    fn scope(&self, account: &ObjectRef) -> Option<Name> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(account).cloned()
    }
}

/// The service account of a Gateway's scope.
fn account(scope: &Name) -> Option<ObjectRef> {
    let gateway = gateway_of(scope)?;
    Some(ObjectRef::new(gateway.namespace, of_gateway(&gateway.name)))
}

/// Who is served: by certificate only.
pub(super) struct Served(pub(super) Gateways);

impl Authenticate for Served {
    async fn authenticate(&self, caller: Caller<'_>) -> Result<Proxy, Denied> {
        let peer = caller.extensions.get::<Peer>();
        let (id, leaf) = peer
            .and_then(|peer| Some((peer.id.as_ref()?, peer.chain.first()?)))
            .ok_or_else(|| Denied("a client certificate is required".to_owned()))?;
        let account = id.service_account().map(|(namespace, name)| ObjectRef::new(namespace, name));
        let scope = account.and_then(|account| self.0.scope(&account));
        let scope = scope.ok_or_else(|| Denied(format!("{id} is of no Gateway that is served here")))?;
        let pod = pod_of(leaf).ok_or_else(|| Denied("the certificate names no pod".to_owned()))?;
        Ok(Proxy { id: pod.as_str().into(), scope, role: Role::Ingress })
    }
}

/// Issues certificates to pods.
pub(super) struct Proof {
    reviews: Api<TokenReview>,
    turns: Semaphore,
    gateways: Gateways,
    authority: Arc<Authority>,
}

impl Proof {
    pub(super) fn new(client: Client, gateways: Gateways, authority: Arc<Authority>) -> Self {
        let turns = Semaphore::new(REVIEWS);
        Self { reviews: Api::all(client), turns, gateways, authority }
    }

    /// The service account and the pod that `token` was made for.
    async fn review(&self, token: &str) -> Result<(ObjectRef, String), Denied> {
        let spec =
            TokenReviewSpec { audiences: Some(vec![AUDIENCE.to_owned()]), token: token.to_owned() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviewing = async {
            // It is never closed.
            let _turn = self.turns.acquire().await;
            self.reviews.create(&PostParams::default(), &review).await
        };
        let later = || Denied("the API server cannot review the token now: try again".to_owned());
        let Ok(reviewed) = timeout(PATIENCE, reviewing).await else {
            tracing::warn!("a token was not reviewed in time");
            return Err(later());
        };
        let reviewed = reviewed.map_err(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "a token cannot be reviewed");
            later()
        })?;
        let status = reviewed.status.unwrap_or_default();
        let meant = status.audiences.unwrap_or_default().iter().any(|audience| audience == AUDIENCE);
        if status.authenticated != Some(true) || !meant {
            return Err(Denied("the token is not valid, or not for this purpose".to_owned()));
        }
        status
            .user
            .as_ref()
            .and_then(bearer)
            .ok_or_else(|| Denied("the token is of no pod's service account".to_owned()))
    }
}

impl Issue for Proof {
    async fn issue(&self, caller: Caller<'_>, csr: Bytes) -> Result<Issued, Denied> {
        let token = caller.bearer.ok_or_else(|| Denied("a token is required".to_owned()))?;
        let (account, pod) = self.review(token).await?;
        if self.gateways.scope(&account).is_none() {
            return Err(Denied(format!(
                "service account {account} is of no Gateway that is served here"
            )));
        }
        let id = SpiffeId::of_service_account(
            self.authority.trust_domain(),
            &account.namespace,
            &account.name,
        );
        let id = id.map_err(|error| Denied(error.to_string()))?;
        let name = format!("{pod}.{}", account.namespace);
        let leaf = self.authority.issue_as(&id, Some(&name), &csr, now()).map_err(|error| {
            tracing::warn!(%id, error = &error as &dyn std::error::Error, "certificate not issued");
            Denied(error.to_string())
        })?;
        tracing::info!(%id, pod, "certificate issued");
        Ok(Issued {
            chain: vec![leaf.certificate],
            not_after: leaf.not_after,
            trust_domain: self.authority.trust_domain().clone(),
            roots: self.authority.roots(),
        })
    }
}

/// The service account and the pod of a reviewed user.
fn bearer(user: &UserInfo) -> Option<(ObjectRef, String)> {
    let name = user.username.as_deref()?.strip_prefix("system:serviceaccount:")?;
    let (namespace, name) = name.split_once(':')?;
    let pod = user.extra.as_ref()?.get(POD)?.first()?.clone();
    Some((ObjectRef::new(namespace, name), pod))
}

/// The name of the pod that a certificate was issued to: its DNS name.
fn pod_of(leaf: &[u8]) -> Option<String> {
    let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
    let names = leaf.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    })
}

/// The settings of the port for proxies, and what keeps its certificate fresh.
///
/// Proxies know a control plane by the namespace that it is in.
pub(super) fn server(
    authority: Arc<Authority>,
    namespace: String,
) -> Result<(watch::Receiver<Arc<ServerConfig>>, impl Future<Output = ()> + Send), KubernetesError> {
    let (configs, config) = watch::channel(config(&authority, &namespace)?);
    let renewing = async move {
        let mut wait = LEAF_LIFE / 3;
        while !configs.is_closed() {
            sleep(wait).await;
            wait = match self::config(&authority, &namespace) {
                Ok(config) => {
                    configs.send_replace(config);
                    LEAF_LIFE / 3
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "cannot renew the control plane's certificate");
                    RETRY
                }
            };
        }
    };
    Ok((config, renewing))
}

fn config(authority: &Authority, namespace: &str) -> Result<Arc<ServerConfig>, KubernetesError> {
    let id = SpiffeId::of_service_account(authority.trust_domain(), namespace, CONTROL_PLANE)?;
    let identity = authority.identity(id, now())?;
    let key = CertifiedKey::from_der(identity.chain, identity.key, &crypto_provider())?;
    let anchors = Anchors::new(authority.trust_domain(), authority.roots())?;
    Ok(tls::server_config(Optional(anchors), Arc::new(key))?)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        net::SocketAddr,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use bytes::Bytes;
    use isthmus_api_server::Client;
    use isthmus_crds::names::CONTROL_PLANE;
    use isthmus_identity::{Anchors, Only};
    use isthmus_ir::SpiffeId;
    use isthmus_xds::{
        ca::Issue as _,
        server::{Authenticate as _, Caller, Denied, Proxy},
        tls::{self, Peer},
    };
    use k8s_openapi::api::authentication::v1::UserInfo;
    use kube::client::Body;
    use rustls_pki_types::ServerName;
    use tokio::{task::JoinSet, time::timeout};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::{Gateways, PATIENCE, POD, Proof, REVIEWS, Served, bearer, server};
    use crate::{ca::Authority, tokens::now};

    fn served() -> Served {
        let gateways = Gateways::default();
        gateways.replace(&BTreeSet::from(["gateway/shop/edge".into()]));
        Served(gateways)
    }

    async fn authenticate(id: Option<&str>, pod: Option<&str>) -> Result<Proxy, Denied> {
        let authority = Authority::generate("east.example".parse().unwrap(), now()).unwrap();
        let id: Option<SpiffeId> = id.map(|id| id.parse().unwrap());
        let key = rcgen::KeyPair::generate().unwrap();
        let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
        let chain = id.iter().map(|id| {
            let leaf = authority.issue_as(id, pod, csr.der(), now()).unwrap();
            leaf.certificate.to_vec().into()
        });
        let address: SocketAddr = "192.0.2.1:1".parse().unwrap();
        let peer = Peer::new(id.clone(), chain.collect(), address);
        let mut extensions = http::Extensions::new();
        extensions.insert(Arc::new(peer.clone()));
        extensions.insert(peer);
        served().authenticate(Caller { bearer: None, extensions: &extensions }).await
    }

    #[tokio::test]
    async fn e7_only_the_service_account_of_a_gateway_is_told_its_resources() {
        let edge = "spiffe://east.example/ns/shop/sa/edge-isthmus";
        let proxy = authenticate(Some(edge), Some("edge-1.shop")).await.unwrap();
        assert_eq!((proxy.id.as_str(), proxy.scope.as_str()), ("edge-1.shop", "gateway/shop/edge"));
        for other in [
            "spiffe://east.example/ns/bank/sa/edge-isthmus",
            "spiffe://east.example/ns/shop/sa/edge",
            "spiffe://east.example/ns/shop/sa/edge-isthmus/x",
        ] {
            authenticate(Some(other), Some("edge-1.shop")).await.unwrap_err();
        }
        authenticate(Some(edge), None).await.unwrap_err();
        authenticate(None, None).await.unwrap_err();
    }

    #[test]
    fn a_token_counts_only_with_its_pod() {
        let user = |name: &str, pod: Option<&str>| UserInfo {
            username: Some(name.to_owned()),
            extra: pod.map(|pod| [(POD.to_owned(), vec![pod.to_owned()])].into()),
            ..UserInfo::default()
        };
        let (account, pod) =
            bearer(&user("system:serviceaccount:shop:edge-isthmus", Some("edge-1"))).unwrap();
        assert_eq!((account.to_string().as_str(), pod.as_str()), ("shop/edge-isthmus", "edge-1"));
        assert!(bearer(&user("system:serviceaccount:shop:edge-isthmus", None)).is_none());
        assert!(bearer(&user("kubernetes-admin", Some("edge-1"))).is_none());
    }

    #[tokio::test]
    async fn a_control_plane_is_known_by_the_namespace_that_it_is_in() {
        let authority = Authority::generate("east.example".parse().unwrap(), now()).unwrap();
        let authority = Arc::new(authority);
        let (config, _renewals) = server(Arc::clone(&authority), "mesh".to_owned()).unwrap();
        let known = async |namespace: &str| {
            let domain = authority.trust_domain();
            let id = SpiffeId::of_service_account(domain, namespace, CONTROL_PLANE).unwrap();
            let anchors = Anchors::new(domain, authority.roots()).unwrap();
            let client = tls::client_config(Only { id, anchors }, None).unwrap();
            let (near, far) = tokio::io::duplex(64 << 10);
            let name = ServerName::try_from("control-plane.example").unwrap();
            let calling = TlsConnector::from(client).connect(name, near);
            let answering = TlsAcceptor::from(Arc::clone(&config.borrow())).accept(far);
            tokio::join!(calling, answering).0.is_ok()
        };
        assert!(known("mesh").await && !known("isthmus-system").await);
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_of_strangers_are_not_all_reviewed_at_once_and_nobody_waits_for_long() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let stuck = tower::service_fn(move |_: http::Request<Body>| {
            counter.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<Result<http::Response<Body>, tower::BoxError>>()
        });
        let authority = Authority::generate("east.example".parse().unwrap(), now()).unwrap();
        let client = Client::new(stuck, "default");
        let proof = Arc::new(Proof::new(client, Gateways::default(), Arc::new(authority)));
        let mut callers = JoinSet::new();
        for _ in 0..20 * REVIEWS {
            let proof = Arc::clone(&proof);
            callers.spawn(async move {
                let extensions = http::Extensions::new();
                let caller = Caller { bearer: Some("guess"), extensions: &extensions };
                proof.issue(caller, Bytes::new()).await.map(drop)
            });
        }
        let answers = timeout(PATIENCE + Duration::from_millis(1), callers.join_all()).await.unwrap();
        assert!(
            answers.iter().all(|answer| matches!(answer, Err(Denied(why)) if why.contains("try again")))
        );
        assert_eq!(asked.load(Ordering::Relaxed), REVIEWS);
    }
}
