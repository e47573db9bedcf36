//! HTTPS listeners: which certificate a client sees, and what it may ask for behind it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
};

use isthmus_ir::{Attachment, Certificate, HostPattern, Listener, ObjectRef, Protocol, Resource};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::{
    authority::server_certificate,
    support::{Backend, PATIENCE, Running, listener_for, resource, route, service},
};

/// Believes anyone and remembers who it was.
#[derive(Debug, Default)]
struct Anyone(Mutex<Vec<u8>>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = leaf.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256]
    }
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn client_config(anyone: &Arc<Anyone>, tls12: bool) -> Arc<ClientConfig> {
    let versions: &[&rustls::SupportedProtocolVersion] =
        if tls12 { &[&rustls::version::TLS12] } else { &[&rustls::version::TLS13] };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(anyone) as _)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn connect(address: SocketAddr, config: Arc<ClientConfig>, name: &str) -> std::io::Result<Stream> {
    let tcp = TcpStream::connect(address)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(config, name).unwrap(), tcp);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

fn get(stream: &mut Stream, host: &str) -> String {
    write!(stream, "GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // A missing close_notify is no matter here.
    drop(stream.read_to_end(&mut answer));
    String::from_utf8(answer).unwrap()
}

fn https(section: &str, host: &str, certificates: &[&Arc<Certificate>]) -> Resource {
    let certificates = certificates.iter().map(|certificate| certificate.name.clone()).collect();
    listener_for(section, HostPattern::parse(host).unwrap(), Protocol::Https { certificates })
}

fn attached(name: &str, section: &str, host: &str, backend: &str) -> Resource {
    let mut route = route(name, "/", &[(backend, 1)]);
    let gateway = ObjectRef::new("infra", "edge");
    route.attachments = vec![Attachment {
        listener: Listener::name(&gateway, section),
        hostnames: vec![HostPattern::parse(host).unwrap()],
    }];
    resource(route)
}

/// Two listeners, `a.test` and `*.wild.test`, each with its certificate, route and backend.
struct Edge {
    running: Running,
    a: Arc<Certificate>,
    wild: Arc<Certificate>,
    _backends: [Backend; 2],
}

fn edge() -> Edge {
    let backends = [Backend::named("a"), Backend::named("wild")];
    let (a, wild) = (server_certificate("a", &["a.test"]), server_certificate("w", &["*.wild.test"]));
    let mut resources = vec![
        Resource::Certificate(Arc::clone(&a)),
        Resource::Certificate(Arc::clone(&wild)),
        https("a", "a.test", &[&a]),
        https("wild", "*.wild.test", &[&a, &wild]),
        attached("a", "a", "a.test", "a"),
        attached("wild", "wild", "*.wild.test", "wild"),
    ];
    resources.extend(service("a", &[backends[0].address]));
    resources.extend(service("wild", &[backends[1].address]));
    let running = Running::start(resources);
    assert_eq!(running.applied, isthmus_proxy::Applied::default());
    Edge { running, a, wild, _backends: backends }
}

impl Edge {
    fn address(&self) -> SocketAddr {
        self.running.proxy().address("infra/edge/a").unwrap()
    }
}

#[test]
fn the_server_name_chooses_listener_and_certificate() {
    let edge = edge();
    for tls12 in [false, true] {
        let anyone = Arc::new(Anyone::default());
        let mut stream = connect(edge.address(), client_config(&anyone, tls12), "a.test").unwrap();
        assert_eq!(*anyone.0.lock().unwrap(), edge.a.chain[0]);
        assert!(get(&mut stream, "a.test").ends_with("\r\n\r\na"));
        let mut stream = connect(edge.address(), client_config(&anyone, tls12), "x.wild.test").unwrap();
        assert_eq!(*anyone.0.lock().unwrap(), edge.wild.chain[0], "the second of the listener's two");
        assert!(get(&mut stream, "x.wild.test").ends_with("\r\n\r\nwild"));
    }
}

#[test]
fn a_name_of_no_listener_is_refused_by_alert() {
    let edge = edge();
    let anyone = Arc::new(Anyone::default());
    let error = connect(edge.address(), client_config(&anyone, false), "b.test").unwrap_err();
    assert!(error.to_string().contains("UnrecognisedName"), "{error}");
}

#[test]
fn d11_a_host_of_another_listener_is_misdirected() {
    let edge = edge();
    let anyone = Arc::new(Anyone::default());
    let mut stream = connect(edge.address(), client_config(&anyone, false), "a.test").unwrap();
    assert!(get(&mut stream, "x.wild.test").starts_with("HTTP/1.1 421 "));
    let mut stream = connect(edge.address(), client_config(&anyone, false), "a.test").unwrap();
    assert!(get(&mut stream, "nobodys.test").starts_with("HTTP/1.1 404 "));
}

#[test]
fn sessions_are_resumed() {
    let edge = edge();
    for tls12 in [false, true] {
        let anyone = Arc::new(Anyone::default());
        let config = client_config(&anyone, tls12);
        let mut first = connect(edge.address(), Arc::clone(&config), "a.test").unwrap();
        assert_eq!(first.conn.handshake_kind(), Some(rustls::HandshakeKind::Full));
        get(&mut first, "a.test");
        let second = connect(edge.address(), config, "a.test").unwrap();
        assert_eq!(second.conn.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    }
}

#[test]
fn d10_a_session_of_one_listener_is_none_of_anothers() {
    let edge = edge();
    let anyone = Arc::new(Anyone::default());
    let config = client_config(&anyone, true);
    get(&mut connect(edge.address(), Arc::clone(&config), "a.test").unwrap(), "a.test");
    // A client that takes one listener's ticket to another gets a full handshake there.
    let tickets = config.resumption.clone();
    let mut other = (*client_config(&anyone, true)).clone();
    other.resumption = tickets;
    let stream = connect(edge.address(), Arc::new(other), "x.wild.test").unwrap();
    assert_eq!(stream.conn.handshake_kind(), Some(rustls::HandshakeKind::Full));
}

#[test]
fn d12_a_hello_in_single_bytes_is_read_as_a_whole_one() {
    let edge = edge();
    let anyone = Arc::new(Anyone::default());
    let tcp = TcpStream::connect(edge.address()).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("a.test").unwrap();
    let mut connection = ClientConnection::new(client_config(&anyone, false), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    for byte in &hello {
        (&tcp).write_all(&[*byte]).unwrap();
    }
    let mut stream = StreamOwned::new(connection, tcp);
    assert!(get(&mut stream, "a.test").ends_with("\r\n\r\na"));
}

#[test]
fn large_bodies_pass_through_tls() {
    let backend = Backend::with(|request, out| {
        write!(out, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", request.body.len())?;
        out.write_all(&request.body)
    });
    let certificate = server_certificate("a", &["a.test"]);
    let mut resources = vec![
        Resource::Certificate(Arc::clone(&certificate)),
        https("a", "a.test", &[&certificate]),
        attached("a", "a", "a.test", "a"),
    ];
    resources.extend(service("a", &[backend.address]));
    let running = Running::start(resources);
    let address = running.proxy().address("infra/edge/a").unwrap();
    let anyone = Arc::new(Anyone::default());
    let mut stream = connect(address, client_config(&anyone, false), "a.test").unwrap();
    let body: Vec<u8> = (0..200_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    write!(stream, "PUT / HTTP/1.1\r\nhost: a.test\r\ncontent-length: {}\r\n\r\n", body.len()).unwrap();
    stream.write_all(&body).unwrap();
    let mut answer = vec![0; body.len()];
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n";
    let mut seen = vec![0; head.len()];
    stream.read_exact(&mut seen).unwrap();
    assert_eq!(String::from_utf8(seen).unwrap().as_bytes(), head);
    stream.read_exact(&mut answer).unwrap();
    assert!(answer == body);
}
