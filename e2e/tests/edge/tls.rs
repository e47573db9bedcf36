//! The guide on TLS: certificates by server name, hostnames of listeners, and references to Secrets.

use std::{
    io::{Error, ErrorKind},
    net::SocketAddr,
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::CertificateDer};

use super::{
    backend::Backend,
    client::{Answer, connect, send},
    instance::{Instance, eventually, free, gateway_of, route_of, service},
};

/// A certificate and its key.
pub struct Certificate {
    der: CertificateDer<'static>,
    pem: String,
    key: String,
}

impl Certificate {
    pub fn of(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let key = made.signing_key.serialize_pem();
        Self { der: made.cert.der().clone(), pem: made.cert.pem(), key }
    }

    pub fn secret(&self, namespace: &str, name: &str) -> String {
        secret(namespace, name, &self.pem, &self.key)
    }
}

fn secret(namespace: &str, name: &str, pem: &str, key: &str) -> String {
    let block = |text: &str| text.lines().flat_map(|line| ["    ", line, "\n"]).collect::<String>();
    format!(
        "---
apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: {namespace}}}
type: kubernetes.io/tls
stringData:
  tls.crt: |
{}  tls.key: |
{}",
        block(pem),
        block(key)
    )
}

pub struct Client(pub Arc<ClientConfig>);

impl Client {
    pub fn trusting(certificates: &[&Certificate]) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate.der.clone()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Self(Arc::new(config.unwrap().with_root_certificates(roots).with_no_client_auth()))
    }

    /// The same, which offers a protocol by ALPN.
    pub fn speaking(self, protocol: &str) -> Self {
        let mut config = ClientConfig::clone(&self.0);
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Self(Arc::new(config))
    }

    /// `GET /` of `host` on a connection for the server name `name`; fails when the certificate is not one
    /// of that name.
    fn get(&self, to: SocketAddr, name: &str, host: &str) -> std::io::Result<Answer> {
        let name = name.to_owned().try_into().map_err(Error::other)?;
        let connection = ClientConnection::new(Arc::clone(&self.0), name).map_err(Error::other)?;
        let mut stream = StreamOwned::new(connection, connect(to)?);
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\nconnection: close\r\n\r\n");
        send(&mut stream, head.as_bytes())
    }

    fn status(&self, to: SocketAddr, name: &str, host: &str) -> Result<u16, ErrorKind> {
        self.get(to, name, host).map(|answer| answer.status).map_err(|error| error.kind())
    }
}

/// An HTTPS listener of a Gateway.
pub fn listener(name: &str, port: u16, hostname: &str, secrets: &str) -> String {
    let hostname =
        if hostname.is_empty() { String::new() } else { format!(", hostname: \"{hostname}\"") };
    format!(
        "  - {{name: {name}, protocol: HTTPS, port: {port}{hostname}, tls: {{certificateRefs: {secrets}}}}}\n"
    )
}

const TO_A: &str = "  - backendRefs: [{name: a, port: 8080}]\n";

#[test]
fn certificates_by_server_name() {
    let (address, clear, a) = (free(), free(), Backend::start("a"));
    let (foo, bar, wild) = (
        Certificate::of("foo.example.com"),
        Certificate::of("bar.example.com"),
        Certificate::of("*.example.com"),
    );
    let port = address.port();
    let listeners = [
        format!("  - {{name: http, protocol: HTTP, port: {}}}\n", clear.port()),
        listener("foo", port, "foo.example.com", "[{kind: Secret, group: \"\", name: foo}]"),
        listener("wild", port, "*.example.com", "[{name: wild}, {name: bar}]"),
    ];
    let manifests = [
        gateway_of("gateway", address.ip(), &listeners.concat()),
        foo.secret("default", "foo"),
        bar.secret("default", "bar"),
        wild.secret("default", "wild"),
        route_of("default", "foo", "[{name: gateway, sectionName: foo}]", "[foo.example.com]", TO_A),
        route_of("default", "wild", "[{name: gateway, sectionName: wild}]", "[]", TO_A),
        service("default", "a", "", &[a.address]),
    ];
    let _instance = Instance::start(&manifests.concat());
    assert_eq!(Client::trusting(&[&foo]).status(address, "foo.example.com", "foo.example.com"), Ok(200));
    assert_eq!(a.next().values("x-forwarded-proto"), ["https"]);
    assert_eq!(Client::trusting(&[&wild]).status(address, "x.example.com", "x.example.com"), Ok(200));
    // Of the certificates of one listener the one that names the server exactly.
    assert_eq!(Client::trusting(&[&bar]).status(address, "bar.example.com", "bar.example.com"), Ok(200));
    let all = Client::trusting(&[&foo, &wild, &bar]);
    assert_eq!(all.status(address, "foo.example.com", "x.example.com"), Ok(421));
    assert_eq!(all.status(address, "x.example.com", "foo.example.com"), Ok(421));
    assert_eq!(all.status(address, "foo.example.com", "example.org"), Ok(404));
    assert!(all.status(address, "example.org", "example.org").is_err(), "no listener has the name");
    assert_eq!(super::client::get(clear, "foo.example.com", "/").status, 404);
}

#[test]
fn secrets_of_other_namespaces_and_bad_ones() {
    let (address, a) = (free(), Backend::start("a"));
    let (good, other) = (Certificate::of("a.com"), Certificate::of("b.com"));
    let ports: Vec<u16> = (0..4).map(|_| free().port()).collect();
    let listeners = [
        listener("granted", address.port(), "", "[{name: good, namespace: certs}]"),
        listener("missing", ports[0], "", "[{name: nowhere}]"),
        listener("garbage", ports[1], "", "[{name: garbage}]"),
        listener("mismatch", ports[2], "", "[{name: mismatch}]"),
        listener("kind", ports[3], "", "[{name: good, kind: ConfigMap}]"),
    ];
    let grant = "---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: allow, namespace: certs}
spec:
  from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: default}]
  to: [{group: \"\", kind: Secret}]
";
    let manifests = [
        gateway_of("gateway", address.ip(), &listeners.concat()),
        good.secret("certs", "good"),
        secret("default", "garbage", "hello", "world"),
        secret("default", "mismatch", &good.pem, &other.key),
        route_of("default", "r", "[{name: gateway}]", "[]", TO_A),
        service("default", "a", "", &[a.address]),
    ];
    let instance = Instance::start(&manifests.concat());
    let reason = |index: usize| {
        let gateway = instance.get("gateway", "default", "gateway");
        let conditions = gateway["status"]["listeners"][index]["conditions"].as_array().unwrap().clone();
        let resolved = conditions.into_iter().find(|c| c["type"] == "ResolvedRefs").unwrap();
        resolved["reason"].as_str().unwrap().to_owned()
    };
    let client = Client::trusting(&[&good, &other]);
    assert_eq!(reason(0), "RefNotPermitted");
    assert!(client.status(address, "a.com", "a.com").is_err());
    for index in 1..5 {
        assert_eq!(reason(index), "InvalidCertificateRef", "{index}");
    }
    instance.write("grant.yaml", grant);
    let answers = |name: &str| client.status(address, name, name).is_ok_and(|s| s == 200).then_some(());
    eventually("the grant", || answers("a.com"));
    instance.write(
        "all.yaml",
        &manifests.concat().replace(&good.secret("certs", "good"), &other.secret("certs", "good")),
    );
    eventually("the other certificate", || answers("b.com"));
    instance.remove("grant.yaml");
    eventually("the end of the grant", || client.status(address, "b.com", "b.com").err());
}
