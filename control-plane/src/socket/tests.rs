//! Server and client over a real Unix socket.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};

use super::{
    Api, ApiError, CallError, Client, Invited, Joined, ObjectQuery, PeerInfo, ProxyInfo, Question,
    SOCKET, Server,
};

struct Fake {
    proxies: Vec<ProxyInfo>,
}

#[async_trait]
impl Api for Fake {
    async fn objects(&self, query: &ObjectQuery) -> Result<Vec<Value>, ApiError> {
        let all = [("a", "x"), ("b", "x"), ("b", "y")];
        let selected = all.into_iter().filter(|(namespace, name)| query.selects(namespace, name));
        let metadata = |(namespace, name)| {
            json!({"namespace": namespace, "name": name,
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "s3cret"}})
        };
        let object =
            |key| json!({"kind": query.kind, "metadata": metadata(key), "data": {"k": "s3cret"}});
        Ok(selected.map(object).collect())
    }

    async fn proxies(&self) -> Result<Vec<ProxyInfo>, ApiError> {
        Ok(self.proxies.clone())
    }

    async fn peers(&self) -> Result<Vec<PeerInfo>, ApiError> {
        Err(ApiError::Internal("no peers today".to_owned()))
    }

    async fn invite(&self) -> Result<Invited, ApiError> {
        Ok(Invited { token: "t".to_owned(), seconds: 7 })
    }

    async fn join(&self, token: &str) -> Result<Joined, ApiError> {
        match token {
            "good" => Ok(Joined { peer: "west".to_owned(), trust_domain: "w.example".to_owned() }),
            _ => Err(ApiError::Refused("the token has been used already".to_owned())),
        }
    }

    async fn leave(&self, name: &str, force: bool) -> Result<(), ApiError> {
        assert!(force);
        Err(ApiError::NotFound(format!("there is no peer {name}")))
    }
}

fn serve(state_dir: &Path, proxies: Vec<ProxyInfo>) -> JoinHandle<()> {
    let server = Server::bind(&state_dir.join(SOCKET)).unwrap();
    tokio::spawn(async move { server.serve(Arc::new(Fake { proxies })).await })
}

fn names(objects: &[Value]) -> Vec<String> {
    let text = |object: &Value, field: &str| object["metadata"][field].as_str().unwrap().to_owned();
    objects.iter().map(|o| format!("{}/{}", text(o, "namespace"), text(o, "name"))).collect()
}

#[tokio::test]
async fn objects_are_asked_for_by_any_name_of_their_kind() {
    let dir = tempfile::tempdir().unwrap();
    let _serving = serve(dir.path(), Vec::new());
    let client = Client::new(dir.path());
    let svc = client.objects("svc", Some("b"), None).await.unwrap();
    assert_eq!(names(&svc), ["b/x", "b/y"]);
    assert_eq!(svc[0]["kind"], "Service");
    assert_eq!(names(&client.objects("Services", None, Some("x")).await.unwrap()), ["a/x", "b/x"]);
    // A kind without namespaces has none to look into.
    assert_eq!(client.objects("gc", Some("b"), None).await.unwrap().len(), 3);
    let missing = client.objects("svc", Some("a"), Some("y")).await.unwrap_err();
    let expected = ApiError::NotFound("there is no Service y in namespace a".to_owned());
    assert!(matches!(missing, CallError::Api(error) if error == expected));
    let unknown = client.objects("pods", None, None).await.unwrap_err();
    assert!(matches!(unknown, CallError::Api(ApiError::Invalid(text)) if text.contains("httproutes")));
}

#[tokio::test]
async fn d18_what_a_secret_holds_is_never_sent() {
    let dir = tempfile::tempdir().unwrap();
    let _serving = serve(dir.path(), Vec::new());
    let shown = Client::new(dir.path()).objects("secrets", None, None).await.unwrap();
    assert!(!json!(shown).to_string().contains("s3cret"));
    assert_eq!(shown[0]["data"]["k"], "(redacted)");
    let config = Client::new(dir.path()).objects("services", None, None).await.unwrap();
    assert!(json!(config).to_string().contains("s3cret"), "the fake would have leaked it");
}

#[tokio::test]
async fn errors_keep_their_kind() {
    let dir = tempfile::tempdir().unwrap();
    let _serving = serve(dir.path(), Vec::new());
    let client = Client::new(dir.path());
    assert_eq!(client.invite().await.unwrap().token, "t");
    assert_eq!(client.join("good").await.unwrap().peer, "west");
    assert!(matches!(client.join("bad").await, Err(CallError::Api(ApiError::Refused(_)))));
    assert!(matches!(client.peers().await, Err(CallError::Api(ApiError::Internal(_)))));
    assert!(matches!(client.leave("x", true).await, Err(CallError::Api(ApiError::NotFound(_)))));
}

#[tokio::test]
async fn without_an_instance_the_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let client = Client::new(dir.path());
    let none = client.proxies().await.unwrap_err();
    assert!(matches!(none, CallError::NoInstance { .. }));
    assert!(none.to_string().contains(dir.path().to_str().unwrap()), "{none}");
    let long = Client::new(&dir.path().join("x".repeat(200)));
    assert!(matches!(long.proxies().await, Err(CallError::NoInstance { .. })));
}

#[tokio::test]
async fn a_socket_that_a_crash_left_behind_is_no_instance_and_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    drop(UnixListener::bind(dir.path().join(SOCKET)).unwrap());
    let client = Client::new(dir.path());
    assert!(matches!(client.proxies().await, Err(CallError::NoInstance { .. })));
    let serving = serve(dir.path(), Vec::new());
    client.proxies().await.unwrap();
    let mode = fs::metadata(dir.path().join(SOCKET)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    serving.abort();
    let _ = serving.await;
    assert!(!dir.path().join(SOCKET).exists(), "an instance that ends well leaves no socket");
}

#[tokio::test]
async fn what_is_no_operation_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _serving = serve(dir.path(), Vec::new());
    let long =
        format!("POST /v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n{}", "x".repeat(70_000));
    for (raw, expected) in [
        ("GET /v1 HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 400"),
        ("POST /v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{\"do\":\"x\"", "HTTP/1.1 400"),
        (long.as_str(), "HTTP/1.1 400"),
    ] {
        let mut stream = UnixStream::connect(dir.path().join(SOCKET)).await.unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(raw.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(expected), "{answer}");
    }
}

/// A proxy's admin socket that answers every request alike.
fn admin(path: &Path, status: &'static str, body: &'static str) {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            assert!(head[..read].starts_with(b"GET /explain?method=GET&url=http%3A%2F%2Fa%2F HTTP/1.1"));
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
}

fn proxy(dir: &Path, name: &str, role: &str) -> ProxyInfo {
    ProxyInfo {
        name: name.to_owned(),
        role: role.to_owned(),
        scope: String::new(),
        pid: Some(1),
        admin: dir.join(name),
        ready: true,
        revision: None,
        restarts: 0,
    }
}

fn question() -> Question {
    Question { method: "GET".to_owned(), url: "http://a/".to_owned(), headers: Vec::new() }
}

#[tokio::test]
async fn the_proxies_that_listen_there_explain() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = dir.path().join("state");
    fs::create_dir(&state_dir).unwrap();
    admin(&dir.path().join("one"), "200 OK", r#"{"answers":[]}"#);
    admin(&dir.path().join("two"), "200 OK", r#"{"answers":[{"port":80}]}"#);
    let proxies = ["one", "two", "dead"].map(|name| proxy(dir.path(), name, "ingress"));
    let mut proxies = proxies.to_vec();
    proxies.push(proxy(dir.path(), "gone", "east-west"));
    let _serving = serve(&state_dir, proxies);
    let answers = Client::new(&state_dir).explain(question()).await.unwrap();
    assert_eq!(answers.len(), 1);
    assert_eq!((&*answers[0].proxy, &*answers[0].answers), ("two", &[json!({"port": 80})][..]));
}

#[tokio::test]
async fn a_question_that_proxies_refuse_is_invalid() {
    let dir = tempfile::tempdir().unwrap();
    admin(&dir.path().join("one"), "400 Bad Request", "the Host field is not allowed\n");
    let refused = super::explain(&[proxy(dir.path(), "one", "ingress")], &question()).await;
    assert_eq!(refused, Err(ApiError::Invalid("the Host field is not allowed".to_owned())));
    let dead = super::explain(&[proxy(dir.path(), "dead", "ingress")], &question()).await;
    assert!(matches!(dead, Err(ApiError::Internal(text)) if text.contains("dead")));
    let none = super::explain(&[proxy(dir.path(), "one", "east-west")], &question()).await;
    assert!(matches!(none, Err(ApiError::NotFound(_))));
}
