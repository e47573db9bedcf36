//! Control plane and proxies over real TCP and TLS on loopback.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use isthmus_identity::{Anchors, Optional, crypto_provider};
use isthmus_ir::{Change, SpiffeId, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer, sign::CertifiedKey};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::timeout,
};

use super::harness::{TestProxy, service, settings, token_proof};
use crate::{
    ca::{self, Issue, IssueError, Issued},
    client::{Client, Connect as _, Link, Proof, Settings, with_causes},
    delta::server::Limits,
    evidence::{Observation, ObserveError, observe},
    server::{Authenticate, Caller, Denied, Proxy, Publisher, Role, serve},
    tls::{Credentials, Peer, Remote, incoming, server_config},
};

const CONTROL: &str = "/ns/isthmus-system/sa/control";
const EDGE: &str = "/ns/shop/sa/edge";
const PATIENCE: Duration = Duration::from_secs(20);

/// A trust domain's CA.
struct Ca {
    domain: TrustDomain,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Ca {
    fn new(domain: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { domain: domain.parse().unwrap(), issuer }
    }

    fn id(&self, path: &str) -> SpiffeId {
        SpiffeId::new(&self.domain, path).unwrap()
    }

    fn svid(&self, path: &str) -> Arc<CertifiedKey> {
        self.svid_with(path, |_| ())
    }

    fn svid_with(&self, path: &str, edit: impl FnOnce(&mut CertificateParams)) -> Arc<CertifiedKey> {
        let mut params = CertificateParams::default();
        edit(&mut params);
        params.subject_alt_names = vec![SanType::URI(self.id(path).to_string().try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let chain = vec![leaf.der().clone()];
        Arc::new(CertifiedKey::from_der(chain, key, &crypto_provider()).unwrap())
    }

    /// What a control plane of this CA answers with: its own SVID, and its own proxies are believed.
    fn server(&self) -> Arc<ServerConfig> {
        let anchors = Anchors::new(&self.domain, [self.issuer.der()]).unwrap();
        server_config(Optional(anchors), self.svid(CONTROL)).unwrap()
    }
}

/// Streams are for proxies with an SVID, and certificates for those with the token of the moment.
struct Rules {
    token: Mutex<String>,
}

impl Authenticate for Rules {
    async fn authenticate(&self, caller: Caller<'_>) -> Result<Proxy, Denied> {
        let peer = caller.extensions.get::<Peer>().ok_or_else(|| Denied("no TLS".to_owned()))?;
        assert!(peer.address.ip().is_loopback());
        assert_eq!(peer.chain.is_empty(), peer.id.is_none());
        let id = peer.id.as_ref().ok_or_else(|| Denied("an SVID is required".to_owned()))?;
        Ok(Proxy { id: id.path().into(), scope: "gateway/a".into(), role: Role::Ingress })
    }
}

impl Issue for Rules {
    async fn issue(&self, caller: Caller<'_>, _csr: Bytes) -> Result<Issued, Denied> {
        assert_eq!(caller.extensions.get::<Peer>().unwrap().id, None, "no SVID is shown for a CSR");
        if caller.bearer != Some(self.token.lock().unwrap().as_str()) {
            return Err(Denied("the token is not valid".to_owned()));
        }
        Ok(Issued {
            chain: vec![Bytes::from_static(b"leaf")],
            not_after: 0,
            trust_domain: "east".parse().unwrap(),
            roots: vec![Bytes::from_static(b"root")],
        })
    }
}

/// A control plane on a port of loopback, and the files that a proxy is given to reach it.
struct Net {
    ca: Ca,
    port: u16,
    rules: Arc<Rules>,
    config: watch::Sender<Arc<ServerConfig>>,
    publisher: Publisher,
    directory: tempfile::TempDir,
}

impl Net {
    async fn start() -> Self {
        let ca = Ca::new("east.example");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let rules = Arc::new(Rules { token: Mutex::new("first".to_owned()) });
        let (config, current) = watch::channel(ca.server());
        let (publisher, _reports) = Publisher::new(Limits::default());
        publisher.publish(&"gateway/a".into(), 1, &[Change::Upsert(service("s"))]);
        let (publishing, known, issue) = (publisher.clone(), rules.clone(), rules.clone());
        tokio::spawn(async move {
            let (observations, _received) = mpsc::channel(1);
            let incoming = incoming(listener, current);
            let never = std::future::pending();
            serve(incoming, publishing, known, issue, observations, never).await
        });
        let directory = tempfile::tempdir().unwrap();
        let net = Self { ca, port, rules, config, publisher, directory };
        net.write("root.pem", &net.ca.issuer.pem());
        net.write("token", "first\n");
        net
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn remote(&self, id: &SpiffeId) -> Remote {
        let address = format!("localhost:{}", self.port).parse().unwrap();
        Remote::new(address, id.clone(), self.path("root.pem"))
    }

    /// The control plane as it is, shown no certificate.
    fn anonymous(&self) -> Remote {
        self.remote(&self.ca.id(CONTROL))
    }

    fn token(&self) -> Proof {
        Proof::TokenFile(self.path("token"))
    }

    async fn request(&self) -> Result<Issued, IssueError> {
        timeout(PATIENCE, ca::request(&self.anonymous(), &self.token(), Bytes::new())).await.unwrap()
    }
}

/// A stream that is proved by its connection.
fn stream(connect: Remote) -> TestProxy {
    TestProxy::spawn(Client::new(connect, Settings { proof: Proof::Connection, ..settings("") }))
}

async fn down(proxy: &mut TestProxy) -> String {
    match timeout(PATIENCE, proxy.link()).await.unwrap() {
        Link::Down(why) => why,
        Link::Up => panic!("it is up"),
    }
}

async fn why(remote: &Remote) -> String {
    with_causes(&timeout(PATIENCE, remote.connect()).await.unwrap().unwrap_err())
}

#[tokio::test]
async fn e7_without_an_svid_there_is_no_stream_and_a_token_gets_an_svid() {
    let net = Net::start().await;
    let mut stranger = stream(net.anonymous());
    assert_eq!(down(&mut stranger).await, "an SVID is required");
    let seen = || vec![Observation { peer: "west".into(), reached: true }];
    let unheard = observe(&net.anonymous(), &token_proof("first"), seen()).await.unwrap_err();
    assert!(matches!(unheard, ObserveError::Refused(why) if why == "an SVID is required"));

    assert_eq!(net.request().await.unwrap().chain[0], "leaf");
    let credentials = Credentials::default();
    let known = net.anonymous().showing(credentials.clone());
    assert_eq!(why(&known).await, "no SVID was issued yet");
    credentials.show(net.ca.svid(EDGE));
    let mut proxy = stream(known.clone());
    assert_eq!(timeout(PATIENCE, proxy.applied()).await.unwrap().0, 1);
    observe(&known, &Proof::Connection, seen()).await.unwrap();
}

#[tokio::test]
async fn d3_who_answers_must_be_the_control_plane_by_a_root_of_its_own() {
    let net = Net::start().await;
    let other = net.ca.id("/ns/isthmus-system/sa/other");
    let expected = format!(
        "TLS identity mismatch at localhost:{}: expected {other}, got {}",
        net.port,
        net.ca.id(CONTROL)
    );
    assert_eq!(why(&net.remote(&other)).await, expected);
    // Another trust domain's root that has issued the right name vouches for nothing.
    net.write("root.pem", &Ca::new("east.example").issuer.pem());
    let path = net.path("root.pem");
    let not_believed = format!(
        "the certificate shown at localhost:{} is not believed by the roots in {}: ",
        net.port,
        path.display()
    );
    assert!(why(&net.anonymous()).await.starts_with(&not_believed));
    net.write("root.pem", "");
    let unusable =
        format!("the roots file {} cannot be used: there is no certificate in it", path.display());
    assert_eq!(why(&net.anonymous()).await, unusable);
    fs::remove_file(&path).unwrap();
    assert!(why(&net.anonymous()).await.starts_with("the roots file"));
    let mut proxy = stream(net.anonymous());
    let missing = format!("no connection: the roots file {} cannot be read: ", path.display());
    assert!(down(&mut proxy).await.starts_with(&missing));
}

#[tokio::test]
async fn a_token_is_read_anew_for_each_call() {
    let net = Net::start().await;
    net.request().await.unwrap();
    "second".clone_into(&mut net.rules.token.lock().unwrap());
    let refused = net.request().await.unwrap_err();
    assert!(matches!(refused, IssueError::Refused(why) if why == "the token is not valid"));
    net.write("token", "second");
    net.request().await.unwrap();
    net.write("token", " \n");
    let empty = format!("the token file {} is empty", net.path("token").display());
    assert_eq!(net.request().await.unwrap_err().to_string(), empty);
    fs::remove_file(net.path("token")).unwrap();
    assert!(matches!(net.request().await.unwrap_err(), IssueError::Proof(_)));
}

#[tokio::test]
async fn roots_are_rotated_under_an_open_stream() {
    let mut net = Net::start().await;
    let credentials = Credentials::default();
    credentials.show(net.ca.svid(EDGE));
    let known = net.anonymous().showing(credentials.clone());
    let mut proxy = stream(known.clone());
    assert_eq!(timeout(PATIENCE, proxy.applied()).await.unwrap().0, 1);
    assert_eq!(timeout(PATIENCE, proxy.link()).await.unwrap(), Link::Up);

    let successor = Ca::new("east.example");
    net.config.send_replace(successor.server());
    // The stream lives on, and who connects now is told of the new root by its file.
    net.publisher.publish(&"gateway/a".into(), 2, &[]);
    assert_eq!(timeout(PATIENCE, proxy.applied()).await.unwrap().0, 2);
    net.request().await.unwrap_err();
    net.write("root.pem", &[net.ca.issuer.pem(), successor.issuer.pem()].concat());
    net.request().await.unwrap();

    // What the old root has signed is refused from now on, and whoever renews it is told.
    let refused =
        format!("localhost:{} refuses this proxy's certificate: received fatal alert: ", net.port);
    let why = why(&known).await;
    assert!(why.starts_with(&refused), "{why}");
    timeout(PATIENCE, credentials.refused()).await.unwrap();
    net.ca = successor;
    credentials.show(net.ca.svid(EDGE));
    known.connect().await.unwrap();
    let renewed = timeout(Duration::from_millis(50), credentials.refused()).await;
    assert!(renewed.is_err(), "what is shown now was not refused");
    drop(proxy);
}

#[tokio::test]
async fn d3_a_caller_whom_no_root_of_the_own_domain_vouches_for_is_refused() {
    let net = Net::start().await;
    for stranger in [Ca::new("west.example"), Ca::new("east.example")] {
        let credentials = Credentials::default();
        credentials.show(stranger.svid(EDGE));
        let why = why(&net.anonymous().showing(credentials)).await;
        assert!(why.contains("refuses this proxy's certificate"), "{why}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_svid_that_proves_it() {
    let net = Net::start().await;
    let credentials = Credentials::default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    credentials.show(net.ca.svid_with(EDGE, |params| {
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + now + Duration::from_secs(4);
    }));
    let mut proxy = stream(net.anonymous().showing(credentials.clone()));
    assert_eq!(timeout(PATIENCE, proxy.applied()).await.unwrap().0, 1);
    assert_eq!(timeout(PATIENCE, proxy.link()).await.unwrap(), Link::Up);
    credentials.show(net.ca.svid(EDGE));
    down(&mut proxy).await;
    assert_eq!(timeout(PATIENCE, proxy.link()).await.unwrap(), Link::Up);
}
