//! What tests of real proxies need: resources, backends that record what reaches them, raw clients.
//!
//! Nothing here sleeps: a test waits for bytes, or for a condition with a deadline that fails it.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use isthmus_ir::{
    Attachment, Backend as RouteBackend, BackendProtocol, BackendTarget, Balancing, Change, Endpoint,
    EndpointState, Endpoints, Filter, HealthPolicy, HostPattern, Listener, Name, ObjectRef, PathMatch,
    Protocol, Reach, Resource, RetryPolicy, Route, RouteId, RouteKind, RouteMatch, Service, Timeouts,
};
use isthmus_proxy::{Applied, Proxy, Settings};

/// Long enough for anything that happens at all.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A proxy with the runtime of its control task.
pub struct Running {
    pub proxy: Option<Proxy>,
    _runtime: tokio::runtime::Runtime,
    pub applied: Applied,
}

impl Running {
    /// Starts a proxy with two threads.
    pub fn start(resources: Vec<Resource>) -> Self {
        Self::with(Settings { threads: 2, ..Settings::default() }, resources)
    }

    pub fn with(settings: Settings, resources: Vec<Resource>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (proxy, applied) = {
            let _entered = runtime.enter();
            Proxy::start(settings, resources).unwrap()
        };
        Self { proxy: Some(proxy), _runtime: runtime, applied }
    }

    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().unwrap()
    }

    pub fn apply(&self, changes: Vec<Change>) -> Applied {
        self.proxy().apply(changes, 1)
    }

    /// Where the listener of [`listener`] is.
    pub fn address(&self) -> SocketAddr {
        self.proxy().address("infra/edge/http").unwrap()
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }
}

/// The Gateway `infra/edge`, listener `http`, on a free port of loopback.
pub fn listener() -> Resource {
    listener_for("http", HostPattern::Any, Protocol::Http)
}

pub fn listener_for(section: &str, hostname: HostPattern, protocol: Protocol) -> Resource {
    let gateway = ObjectRef::new("infra", "edge");
    Resource::Listener(Arc::new(Listener {
        name: Listener::name(&gateway, section),
        gateway,
        section: section.to_owned(),
        addresses: vec![Ipv4Addr::LOCALHOST.into()],
        port: 0,
        hostname,
        protocol,
    }))
}

/// A route `shop/<name>` that sends everything under `prefix` to `backends` of these weights.
pub fn route(name: &str, prefix: &str, backends: &[(&str, u32)]) -> Route {
    let id = RouteId { kind: RouteKind::Http, object: ObjectRef::new("shop", name) };
    Route {
        name: Route::name(&id, 0),
        route: id,
        rule: 0,
        rule_name: None,
        created: 0,
        attachments: vec![Attachment {
            listener: "infra/edge/http".into(),
            hostnames: vec![HostPattern::Any],
        }],
        matches: vec![RouteMatch {
            path: PathMatch::Prefix(prefix.to_owned()),
            method: None,
            headers: Vec::new(),
            query: Vec::new(),
        }],
        filters: Vec::new(),
        backends: backends
            .iter()
            .map(|(service, weight)| RouteBackend {
                weight: *weight,
                target: BackendTarget::Service(service_name(service)),
                filters: Vec::new(),
            })
            .collect(),
        timeouts: Timeouts::default(),
        retry: RetryPolicy::default(),
    }
}

pub fn with_filter(mut route: Route, filter: Filter) -> Route {
    route.filters.push(filter);
    route
}

pub fn resource(route: Route) -> Resource {
    Resource::Route(Arc::new(route))
}

pub fn service_name(name: &str) -> Name {
    Service::name(&ObjectRef::new("shop", name), 80)
}

/// The service `shop/<name>` with these endpoints.
pub fn service(name: &str, addresses: &[SocketAddr]) -> Vec<Resource> {
    let endpoints = addresses.iter().map(|address| endpoint(*address)).collect();
    service_with(name, endpoints, HealthPolicy::default())
}

pub fn service_with(name: &str, endpoints: Vec<Endpoint>, health: HealthPolicy) -> Vec<Resource> {
    vec![
        Resource::Service(Arc::new(Service {
            name: service_name(name),
            object: ObjectRef::new("shop", name),
            port: 80,
            protocol: BackendProtocol::Http1,
            balancing: Balancing::LeastRequest,
            health,
            overprovision_percent: 140,
        })),
        Resource::Endpoints(Arc::new(Endpoints { service: service_name(name), endpoints })),
    ]
}

pub fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint {
        id: address.to_string().into(),
        cluster: "east".into(),
        zone: None,
        priority: 0,
        weight: 1,
        state: EndpointState::Ready,
        reach: Reach::Direct { addresses: vec![address] },
    }
}

/// A proxy with one route, `/`, to the given endpoints.
pub fn simple(addresses: &[SocketAddr]) -> Running {
    let mut resources = vec![listener(), resource(route("all", "/", &[("echo", 1)]))];
    resources.extend(service("echo", addresses));
    Running::start(resources)
}

/// An address on which nobody listens.
pub fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// One request as a backend received it.
#[derive(Clone, Debug)]
pub struct Received {
    pub head: String,
    pub body: Vec<u8>,
    /// Which of the backend's connections it came on.
    pub connection: usize,
}

impl Received {
    /// The first line.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    /// The values of a field.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }
}

/// A server that records requests and answers as it is told.
pub struct Backend {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl Backend {
    /// Answers every request with 200 and its own name.
    pub fn named(name: &'static str) -> Self {
        Self::with(move |_, out| out.write_all(ok(name).as_bytes()))
    }

    /// Answers by `answer`; an error closes the connection.
    pub fn with(
        answer: impl Fn(&Received, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
    }

    pub fn on(
        listener: TcpListener,
        answer: impl Fn(&Received, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let backend = Self {
            address: listener.local_addr().unwrap(),
            received: Arc::default(),
            connections: Arc::default(),
            stopped: Arc::default(),
        };
        let (received, connections) = (Arc::clone(&backend.received), Arc::clone(&backend.connections));
        let (answer, stopped) = (Arc::new(answer), Arc::clone(&backend.stopped));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let number = connections.fetch_add(1, Ordering::SeqCst);
                let (received, answer) = (Arc::clone(&received), Arc::clone(&answer));
                thread::spawn(move || serve(stream.unwrap(), number, &received, &*answer));
            }
        });
        backend
    }

    /// Everything that was received.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn serve(
    mut stream: TcpStream,
    connection: usize,
    received: &Mutex<Vec<Received>>,
    answer: &dyn Fn(&Received, &mut TcpStream) -> io::Result<()>,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Ok(Some(mut request)) = read_message(&mut reader) {
        request.connection = connection;
        received.lock().unwrap().push(request.clone());
        if answer(&request, &mut stream).is_err() {
            drop(stream.shutdown(std::net::Shutdown::Both));
            return;
        }
    }
}

/// Reads one message: head, and a body framed by length or chunks. A request without either has none.
pub fn read_message(reader: &mut impl BufRead) -> io::Result<Option<Received>> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut message = Received { head, body: Vec::new(), connection: 0 };
    if let Some(length) = message.values("content-length").first() {
        message.body = vec![0; length.parse().unwrap()];
        let status = message.line().split(' ').nth(1).unwrap_or_default().to_owned();
        if status != "304" {
            reader.read_exact(&mut message.body)?;
        }
    } else if message.values("transfer-encoding").first() == Some(&"chunked") {
        message.body = read_chunks(reader)?;
    }
    Ok(Some(message))
}

fn read_chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; size];
        reader.read_exact(&mut chunk)?;
        let mut end = String::new();
        reader.read_line(&mut end)?;
        if size == 0 {
            // Trailers, if any, end in an empty line.
            while end != "\r\n" {
                end.clear();
                reader.read_line(&mut end)?;
            }
            return Ok(body);
        }
        body.extend(chunk);
    }
}

/// A raw client's connection.
pub struct Client {
    pub stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// The next answer.
    pub fn answer(&mut self) -> Received {
        read_message(&mut self.reader).unwrap().expect("an answer, not the end of the connection")
    }

    /// Sends a GET and reads its answer.
    pub fn get(&mut self, path: &str) -> Received {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n\r\n")).answer()
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset ends the connection as well.
        drop(self.reader.read_to_end(&mut rest));
        rest
    }

    /// Whether the connection is at its end.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.reader.fill_buf(), Ok([]) | Err(_))
    }

    pub fn read_some(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes
    }
}

impl Received {
    /// The status of an answer.
    pub fn status(&self) -> u16 {
        self.line().split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        thread::yield_now();
    }
}
