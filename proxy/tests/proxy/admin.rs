//! The admin interface, over its socket.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
};

use isthmus_ir::{HostPattern, Listener, Protocol, Resource};
use isthmus_proxy::{Proxy, Settings, admin};

use crate::{
    authority::server_certificate,
    support::{Backend, closed_port, listener, listener_for, resource, route, service},
};

fn ask(socket: &Path, path: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: admin\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[test]
fn readiness_metrics_dump_and_explanations_are_there_and_secrets_are_not() {
    let backend = Backend::named("one");
    let certificate = server_certificate("a", &["a.test"]);
    let protocol = Protocol::Https { certificates: vec![certificate.name.clone()] };
    // The explanation is asked for by port, so it has to be a real one.
    let port = closed_port().port();
    let Resource::Listener(base) = listener() else { panic!("a listener") };
    let mut resources = vec![
        Resource::Listener(Arc::new(Listener { port, ..(*base).clone() })),
        listener_for("tls", HostPattern::Any, protocol),
        Resource::Certificate(Arc::clone(&certificate)),
        resource(route("all", "/", &[("echo", 1)])),
    ];
    resources.extend(service("echo", &[backend.address]));
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("admin.sock");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let settings = Settings { threads: 1, ..Settings::default() };
    let (proxy, _) = Proxy::start(settings, Vec::new()).unwrap();
    let proxy = Arc::new(proxy);
    let listening = admin::bind(&socket).unwrap();
    runtime.spawn(admin::serve(Arc::clone(&proxy), listening));
    assert_eq!(ask(&socket, "/ready").0, 503);
    proxy.apply(resources.into_iter().map(isthmus_ir::Change::Upsert).collect(), 1);
    assert_eq!(ask(&socket, "/ready"), (200, "ready\n".to_owned()));
    assert_eq!(ask(&socket, "/nothing").0, 404);

    let (status, metrics) = ask(&socket, "/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("isthmus_endpoint_up{service=\"cluster/shop/echo/80\""), "{metrics}");

    let (status, dump) = ask(&socket, "/config_dump");
    assert_eq!(status, 200);
    let dump: serde_json::Value = serde_json::from_str(&dump).unwrap();
    assert_eq!(dump["resources"]["Certificate"][0]["name"], "shop/a");
    let text = dump.to_string();
    let key = certificate.key.der.expose();
    let listed = key.iter().take(16).map(ToString::to_string).collect::<Vec<_>>().join(",");
    assert!(!text.contains(&listed) && !text.contains("PRIVATE"), "d18: no key is shown");

    let (status, why) = ask(&socket, "/explain?method=GET&url=nothing");
    assert_eq!(status, 400, "{why}");
    let url = format!("http%3A%2F%2F127.0.0.1%3A{port}%2Fa%2F..%2Fx");
    let (status, why) = ask(&socket, &format!("/explain?method=GET&url={url}&header=x-a:b"));
    assert_eq!(status, 200, "{why}");
    let why: serde_json::Value = serde_json::from_str(&why).unwrap();
    let answer = &why["answers"][0];
    assert_eq!(answer["explanation"]["request"]["path"], "/x");
    assert_eq!(answer["explanation"]["outcome"]["rule"], "HTTPRoute/shop/all/0");
    assert_eq!(answer["backends"][0]["endpoints"][0]["up"], true);
}

fn ask_public(address: SocketAddr, line: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{line} HTTP/1.1\r\nhost: admin\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn e12_strangers_see_readiness_and_metrics_and_change_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let settings = Settings { threads: 1, ..Settings::default() };
    let (proxy, _) = Proxy::start(settings, Vec::new()).unwrap();
    let proxy = Arc::new(proxy);
    proxy.apply(Vec::new(), 1);
    let listening = admin::bind_public("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listening.local_addr().unwrap();
    runtime.spawn(admin::serve_public(Arc::clone(&proxy), listening));
    for (line, status) in [
        ("GET /ready", 200),
        ("GET /metrics", 200),
        ("GET /config_dump", 404),
        ("GET /explain?method=GET&url=http://a.test/", 404),
        ("GET /quit", 404),
        ("POST /quit", 405),
        ("POST /ready", 405),
        ("PUT /config_dump", 405),
    ] {
        assert_eq!(ask_public(address, line), status, "{line}");
    }
    assert_eq!(ask_public(address, "GET /ready"), 200);
}
