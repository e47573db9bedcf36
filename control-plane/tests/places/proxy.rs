//! A proxy that serves nobody: it takes what its Gateway's proxies are told, and acks it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use isthmus_compiler::gateway_of;
use isthmus_control_plane::ca::Authority;
use isthmus_crds::names::{CONTROL_PLANE, NAMESPACE, of_gateway};
use isthmus_identity::crypto_provider;
use isthmus_ir::{Change, Key, Kind, Name, ObjectRef, Resource, SpiffeId};
use isthmus_xds::{
    client::{Apply, Client, Outcome, Proof, Settings},
    tls::{Credentials, Remote},
};
use rcgen::{CertificateParams, KeyPair};
use rustls::{pki_types::PrivatePkcs8KeyDer, sign::CertifiedKey};
use serde_json::Value;

use crate::golden::shown;

/// A proxy, and what it was told.
pub(crate) struct Proxy {
    told: Told,
    remote: Remote,
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<BTreeMap<Key, Resource>>>);

impl Apply for Told {
    async fn apply(&mut self, staged: Vec<Change>, _revision: u64) -> Outcome {
        let mut told = self.0.lock().unwrap();
        for change in staged {
            match change {
                Change::Upsert(resource) => drop(told.insert(resource.key(), resource)),
                Change::Remove(key) => drop(told.remove(&key)),
            }
        }
        Outcome::default()
    }
}

impl Proxy {
    /// Connects for the Gateway of `scope`, for as long as the runtime lives.
    pub(crate) fn start(scope: &Name, address: SocketAddr, roots: &Path, authority: &Authority) -> Self {
        let ObjectRef { namespace, name: gateway } = gateway_of(scope).unwrap();
        let id = |namespace: &str, account: &str| {
            SpiffeId::of_service_account(authority.trust_domain(), namespace, account).unwrap()
        };
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap();
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let account = id(&namespace, &of_gateway(&gateway));
        let pod = format!("{gateway}-1.{namespace}");
        let leaf = authority.issue_as(&account, Some(&pod), csr.der(), now).unwrap();
        let chain = vec![leaf.certificate.to_vec().into()];
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let credentials = Credentials::default();
        credentials.show(Arc::new(CertifiedKey::from_der(chain, key, &crypto_provider()).unwrap()));
        let control_plane = id(NAMESPACE, CONTROL_PLANE);
        let remote = Remote::new(address.to_string().parse().unwrap(), control_plane, roots.to_owned());
        Self::by(remote.showing(credentials))
    }

    /// One more with the same certificate.
    pub(crate) fn another(&self) -> Self {
        Self::by(self.remote.clone())
    }

    fn by(remote: Remote) -> Self {
        let settings = Settings {
            proof: Proof::Connection,
            user_agent: "test".to_owned(),
            kinds: Kind::ALL.to_vec(),
        };
        let client = Client::new(remote.clone(), settings);
        let told = Told::default();
        let mut telling = told.clone();
        tokio::spawn(async move { client.run(&mut telling).await });
        Self { told, remote }
    }

    /// What it was told so far.
    pub(crate) fn told(&self) -> BTreeMap<String, Value> {
        self.told.0.lock().unwrap().values().map(shown).collect()
    }
}
