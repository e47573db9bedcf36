//! The guides on HTTP: routing, header modifiers, redirects and rewrites, traffic splitting, mirroring,
//! timeouts.

use std::io::{Read as _, Write as _};

use super::{
    backend::Backend,
    client::{ask, connect, get},
    instance::{Instance, eventually, free, gateway, route, service},
};

const TO_A: &str = "    backendRefs: [{name: a, port: 8080}]\n";

/// An instance with one listener, a Service `a` with one backend, and `routes`.
fn with_a(routes: &[String]) -> (Instance, std::net::SocketAddr, Backend) {
    let (address, a) = (free(), Backend::start("a"));
    let manifests = [gateway(address), service("default", "a", "", &[a.address]), routes.concat()];
    (Instance::start(&manifests.concat()), address, a)
}

#[test]
fn http_routing() {
    let (address, foo, bar, canary) =
        (free(), Backend::start("foo"), Backend::start("bar"), Backend::start("canary"));
    let foo_route = "
  - matches:
    - path:
        type: PathPrefix
        value: /login
    backendRefs:
    - name: foo-svc
      port: 8080
";
    let bar_route = "
  - matches:
    - headers:
      - type: Exact
        name: env
        value: canary
    backendRefs:
    - name: bar-svc-canary
      port: 8080
  - backendRefs:
    - name: bar-svc
      port: 8080
";
    let manifests = [
        gateway(address),
        route("foo-route", "foo.example.com", foo_route),
        route("bar-route", "bar.example.com", bar_route),
        service("default", "foo-svc", "", &[foo.address]),
        service("default", "bar-svc", "", &[bar.address]),
        service("default", "bar-svc-canary", "", &[canary.address]),
    ];
    let instance = Instance::start(&manifests.concat());
    assert_eq!(instance.ready, "ready: 1 of 1 gateways programmed");
    assert_eq!(get(address, "foo.example.com", "/login/x").body, "foo");
    assert_eq!(get(address, "FOO.example.com:80", "/login?a=b").body, "foo");
    for (host, path) in [("foo.example.com", "/loginx"), ("foo.example.com", "/"), ("example.com", "/")]
    {
        assert_eq!(get(address, host, path).status, 404, "{host}{path}");
    }
    assert_eq!(get(address, "bar.example.com", "/any").body, "bar");
    assert_eq!(ask(address, "GET /any", "bar.example.com", &["Env: canary"]).unwrap().body, "canary");
    assert_eq!(ask(address, "GET /any", "bar.example.com", &["env: canary2"]).unwrap().body, "bar");
}

#[test]
fn header_modifiers() {
    let rules = "
  - filters:
    - type: RequestHeaderModifier
      requestHeaderModifier:
        add: [{name: my-header-name, value: my-header-value}]
        set: [{name: X-Set, value: new}]
        remove: [x-gone]
    - type: ResponseHeaderModifier
      responseHeaderModifier:
        add: [{name: X-Header-Add-1, value: header-add-1}]
        set: [{name: X-Set, value: new}]
        remove: [X-Old]
    backendRefs:
    - name: a
      port: 8080
      filters:
      - type: RequestHeaderModifier
        requestHeaderModifier:
          set: [{name: x-backend, value: of the backend}]
";
    let (_instance, address, a) = with_a(&[route("headers", "example.com", rules)]);
    let fields = ["My-Header-Name: mine", "x-set: old", "X-SET: older", "X-Gone: 1", "x-backend: 0"];
    let answer = ask(address, "GET /", "example.com", &fields).unwrap();
    let seen = a.next();
    assert_eq!(seen.values("my-header-name"), ["mine", "my-header-value"]);
    assert_eq!(seen.values("x-set"), ["new"]);
    assert_eq!(seen.values("x-backend"), ["of the backend"]);
    assert!(seen.values("x-gone").is_empty());
    assert_eq!(answer.values("x-set"), ["new"]);
    assert_eq!(answer.values("x-header-add-1"), ["header-add-1"]);
    assert!(answer.values("x-old").is_empty());
}

#[test]
fn redirects() {
    let redirect = |path: &str, how: &str| {
        format!(
            "
  - matches: [{{path: {{type: PathPrefix, value: {path}}}}}]
    filters: [{{type: RequestRedirect, requestRedirect: {how}}}]
"
        )
    };
    let rules = [
        redirect("/https", "{scheme: https, statusCode: 301}"),
        redirect("/host", "{hostname: other.example, port: 8083, statusCode: 308}"),
        redirect("/see", "{scheme: http, hostname: other.example, statusCode: 303}"),
        redirect("/full", "{path: {type: ReplaceFullPath, replaceFullPath: /paprika}, statusCode: 307}"),
        redirect("/prefix", "{path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}"),
    ];
    let (_instance, address, _a) = with_a(&[route("redirects", "example.com", &rules.concat())]);
    let own = format!("http://example.com:{}", address.port());
    for (path, status, location) in [
        ("/https/x?y", 301, "https://example.com/https/x?y".to_owned()),
        ("/host", 308, "http://other.example:8083/host".to_owned()),
        ("/see", 303, "http://other.example/see".to_owned()),
        ("/full/x?y=1", 307, format!("{own}/paprika?y=1")),
        ("/prefix/x", 302, format!("{own}/new/x")),
    ] {
        let answer = get(address, "example.com", path);
        assert_eq!(
            (answer.status, answer.value("location")),
            (status, Some(location.as_str())),
            "{path}"
        );
    }
}

#[test]
fn rewrites() {
    let rewrite = |path: &str, how: &str| {
        format!(
            "
  - matches: [{{path: {{type: PathPrefix, value: {path}}}}}]
    filters: [{{type: URLRewrite, urlRewrite: {how}}}]
{TO_A}"
        )
    };
    let rules = [
        rewrite("/host", "{hostname: elsewhere.example}"),
        rewrite("/full", "{path: {type: ReplaceFullPath, replaceFullPath: /one}}"),
        rewrite("/prefix", "{path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}"),
        rewrite("/strip", "{path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}"),
    ];
    let (_instance, address, a) = with_a(&[route("rewrites", "example.com", &rules.concat())]);
    for (path, target, host) in [
        ("/host/x?y=%20", "/host/x?y=%20", "elsewhere.example"),
        ("/full/x?y", "/one?y", "example.com"),
        ("/prefix", "/new", "example.com"),
        ("/prefix/x", "/new/x", "example.com"),
        ("/strip", "/", "example.com"),
        ("/strip/x/", "/x/", "example.com"),
    ] {
        assert_eq!(get(address, "example.com", path).status, 200, "{path}");
        let seen = a.next();
        assert_eq!((seen.target(), seen.values("host")), (target, vec![host]), "{path}");
    }
}

#[test]
fn traffic_splitting_and_what_has_no_backend() {
    let (address, a, b) = (free(), Backend::start("a"), Backend::start("b"));
    let to = |refs: &str| format!("  - backendRefs: {refs}\n");
    let manifests = [
        gateway(address),
        route(
            "split",
            "split.example",
            &to("[{name: a, port: 8080, weight: 90}, {name: b, port: 8080, weight: 10}]"),
        ),
        route("zero", "zero.example", &to("[{name: a, port: 8080, weight: 0}, {name: b, port: 8080}]")),
        route("none", "none.example", &to("[{name: a, port: 8080, weight: 0}]")),
        route("missing", "missing.example", &to("[{name: nowhere, port: 8080}]")),
        route("no-port", "no-port.example", &to("[{name: a, port: 81}]")),
        route("empty", "empty.example", &to("[{name: idle, port: 8080}]")),
        route("without", "without.example", "  - matches: [{path: {value: /}}]\n"),
        service("default", "a", "", &[a.address]),
        service("default", "b", "", &[b.address]),
        service("default", "idle", "", &[]),
    ];
    let _instance = Instance::start(&manifests.concat());
    let to_b = (0..200).filter(|_| get(address, "split.example", "/").body == "b").count();
    assert!((5..50).contains(&to_b), "{to_b} of 200 for 10 %");
    assert!((0..10).all(|_| get(address, "zero.example", "/").body == "b"));
    for (host, status) in [
        ("none.example", 500),
        ("missing.example", 500),
        ("no-port.example", 500),
        ("without.example", 500),
        ("empty.example", 503),
        ("other.example", 404),
    ] {
        assert_eq!(get(address, host, "/").status, status, "{host}");
    }
}

#[test]
fn request_mirroring() {
    let rules = format!(
        "
  - filters:
    - {{type: RequestMirror, requestMirror: {{backendRef: {{name: all, port: 8080}}}}}}
    - {{type: RequestMirror, requestMirror: {{backendRef: {{name: some, port: 8080}}, percent: 40}}}}
{TO_A}"
    );
    let (address, a, all, some) =
        (free(), Backend::start("a"), Backend::start("all"), Backend::start("some"));
    let manifests = [
        gateway(address),
        route("mirror", "example.com", &rules),
        service("default", "a", "", &[a.address]),
        service("default", "all", "", &[all.address]),
        service("default", "some", "", &[some.address]),
    ];
    let _instance = Instance::start(&manifests.concat());
    for _ in 0..100 {
        let answer = ask(address, "POST /x?y", "example.com", &["content-length: 0"]);
        assert_eq!(answer.unwrap().body, "a");
    }
    for _ in 0..100 {
        assert_eq!(all.next().target(), "/x?y");
    }
    let copies = some.rest();
    assert!((15..70).contains(&copies), "{copies} of 100 for 40 %");
}

#[test]
fn timeouts() {
    let rules = format!(
        "
  - matches: [{{path: {{value: /hold/request}}}}]
    timeouts: {{request: 100ms}}
{TO_A}
  - matches: [{{path: {{value: /hold/backend}}}}]
    timeouts: {{request: 10s, backendRequest: 100ms}}
{TO_A}
  - matches: [{{path: {{value: /hold/none}}}}]
    timeouts: {{request: 0s}}
{TO_A}"
    );
    let (_instance, address, a) = with_a(&[route("timeouts", "example.com", &rules)]);
    let held = a.hold();
    assert_eq!(get(address, "example.com", "/hold/request").status, 504);
    assert_eq!(get(address, "example.com", "/hold/backend").status, 504);
    drop(held);
    assert_eq!(get(address, "example.com", "/hold/none").status, 200);
}

#[test]
fn websocket_by_app_protocol() {
    let (address, a) = (free(), Backend::start("a"));
    let manifests = [
        gateway(address),
        route("ws", "example.com", "  - backendRefs: [{name: ws, port: 8080}]\n"),
        service("default", "ws", ", appProtocol: kubernetes.io/ws", &[a.address]),
    ];
    let _instance = Instance::start(&manifests.concat());
    let mut stream = connect(address).unwrap();
    let head = "GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    stream.write_all(b"hello").unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"hello");
}

#[test]
fn precedence_across_routes() {
    let tagged = |path: &str, tag: &str| {
        format!(
            "
  - matches: [{{path: {{value: {path}}}}}]
    filters: [{{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: x-rule, value: {tag}}}]}}}}]
{TO_A}"
        )
    };
    let created = |route: String, when: &str| {
        route.replace(
            "namespace: default}",
            &format!("namespace: default, creationTimestamp: \"{when}\"}}"),
        )
    };
    let routes = [
        route("exact-host", "a.example.com", &tagged("/exact", "exact-host")),
        route("wildcard", "*.example.com", &tagged("/", "wildcard")),
        created(route("young", "t.example", &tagged("/", "young")), "2026-01-02T00:00:00Z"),
        created(route("z-old", "t.example", &tagged("/", "old")), "2025-01-02T00:00:00Z"),
        created(route("n-b", "n.example", &tagged("/", "n-b")), "2025-01-02T00:00:00Z"),
        created(route("n-a", "n.example", &tagged("/", "n-a")), "2025-01-02T00:00:00Z"),
        route("longest", "l.example", &[tagged("/a", "short"), tagged("/a/b", "long")].concat()),
    ];
    let (_instance, address, _a) = with_a(&routes);
    for (host, path, rule) in [
        ("a.example.com", "/exact", "exact-host"),
        ("a.example.com", "/other", "wildcard"),
        ("a.b.example.com", "/exact", "wildcard"),
        ("t.example", "/", "old"),
        ("n.example", "/", "n-a"),
        ("l.example", "/a/b/c", "long"),
        ("l.example", "/a/bc", "short"),
    ] {
        let answer = get(address, host, path);
        assert_eq!(answer.value("x-rule"), Some(rule), "{host}{path}: {answer:?}");
    }
    assert_eq!(get(address, "example.com", "/").status, 404);
}

#[test]
fn a_backend_that_comes_later_is_used() {
    let rules = "  - backendRefs: [{name: late, port: 8080}]\n";
    let (instance, address, a) = with_a(&[route("late", "example.com", rules)]);
    assert_eq!(get(address, "example.com", "/").status, 500);
    instance.write("late.yaml", &service("default", "late", "", &[]));
    eventually("503", || (get(address, "example.com", "/").status == 503).then_some(()));
    instance.write("late.yaml", &service("default", "late", "", &[a.address]));
    eventually("200", || (get(address, "example.com", "/").status == 200).then_some(()));
}

#[test]
fn http_retries() {
    let retry = |path: &str, how: &str| {
        format!("\n  - matches: [{{path: {{value: {path}}}}}]\n    retry: {how}\n{TO_A}")
    };
    let rules = [
        retry("/codes", "{codes: [500, 503], attempts: 2}"),
        retry("/backoff", "{codes: [503], attempts: 1, backoff: 50ms}"),
        retry("/none", "{codes: [503], attempts: 0}"),
    ];
    let (_instance, address, a) = with_a(&[route("retry", "example.com", &rules.concat())]);
    for (method, path, fail, status, attempts) in [
        ("GET", "/codes/1", "500 2", 200, 3),
        ("GET", "/codes/2", "503 3", 503, 3),
        ("POST", "/codes/3", "503 1", 200, 2),
        ("GET", "/codes/4", "502 1", 502, 1),
        ("GET", "/backoff", "503 1", 200, 2),
        ("GET", "/none", "503 1", 503, 1),
    ] {
        let start = std::time::Instant::now();
        let fields = [&format!("x-fail: {fail}"), "content-length: 0"];
        let answer = ask(address, &format!("{method} {path}"), "example.com", &fields).unwrap();
        let seen = (0..attempts).filter(|_| a.next().target() == path).count();
        assert_eq!((answer.status, seen, a.rest()), (status, attempts, 0), "{method} {path}");
        let waited = start.elapsed() >= std::time::Duration::from_millis(50);
        assert!(waited || path != "/backoff", "an attempt after {:?}", start.elapsed());
    }
}

#[test]
fn cross_origin_requests() {
    let rules = format!(
        "
  - matches: [{{path: {{type: PathPrefix, value: /resource/foo}}}}]
    filters:
    - type: CORS
      cors:
        allowOrigins: [\"https://www.foo.com\", \"https://*.bar.com\"]
        allowMethods: [GET, PUT]
        allowHeaders: [x-header-1, X-Header-2]
        exposeHeaders: [x-header-3]
        allowCredentials: true
        maxAge: 1728000
{TO_A}
  - matches: [{{path: {{value: /any}}}}]
    filters: [{{type: CORS, cors: {{allowOrigins: [\"*\"], allowMethods: [\"*\"], allowHeaders: [\"*\"]}}}}]
{TO_A}"
    );
    let (_instance, address, a) = with_a(&[route("cors", "example.com", &rules)]);
    let preflight = |path: &str, origin: &str| {
        let origin = format!("Origin: {origin}");
        let fields = [
            &*origin,
            "Access-Control-Request-Method: PUT",
            "Access-Control-Request-Headers: x-header-1",
        ];
        ask(address, &format!("OPTIONS {path}"), "example.com", &fields).unwrap()
    };
    let answer = preflight("/resource/foo", "https://a.b.bar.com");
    assert!(matches!(answer.status, 200 | 204), "{answer:?}");
    for (name, value) in [
        ("access-control-allow-origin", "https://a.b.bar.com"),
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-headers", "x-header-1, x-header-2"),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "x-header-3"),
        ("access-control-max-age", "1728000"),
    ] {
        assert_eq!(answer.value(name), Some(value), "{name}");
    }
    let answer = preflight("/any", "https://anyone.example");
    assert_eq!(answer.value("access-control-allow-origin"), Some("https://anyone.example"));
    assert_eq!(answer.value("access-control-allow-methods"), Some("PUT"));
    assert_eq!(answer.value("access-control-allow-headers"), Some("x-header-1"));
    assert_eq!(answer.value("access-control-max-age"), Some("5"));
    assert_eq!(answer.value("access-control-allow-credentials"), None);
    let answer = preflight("/resource/foo", "https://evil.example");
    assert!(!answer.head.contains("access-control-allow-origin"), "{answer:?}");
    assert_eq!(a.rest(), 0, "preflights are answered by the gateway");

    let get = |origin: &str| {
        ask(address, "GET /resource/foo", "example.com", &[&format!("Origin: {origin}")]).unwrap()
    };
    let answer = get("https://www.foo.com");
    assert_eq!(answer.body, "a");
    assert_eq!(answer.value("access-control-allow-origin"), Some("https://www.foo.com"));
    assert_eq!(answer.value("access-control-expose-headers"), Some("x-header-3"));
    let answer = get("http://www.foo.com");
    assert_eq!((&*answer.body, answer.value("access-control-allow-origin")), ("a", None));
}
