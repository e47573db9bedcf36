//! The answering side of the control socket.
//!
//! Requests are bounded in number, size and time, so that no command can wear the instance out. Errors of
//! an operation are answers; only what cannot be read as one is refused here.

use std::{
    convert::Infallible,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::timeout,
};

use super::{Api, ApiError, Listed, ObjectQuery, Request, kinds};

/// The longest request: a token, a URL, header fields.
const LARGEST: usize = 64 << 10;
/// How many commands are answered at once; more wait.
const AT_ONCE: usize = 32;
/// How long a command may take to say what it wants.
const HEAD: Duration = Duration::from_secs(5);
/// How long an exchange may take as a whole; joining needs another cluster.
const WHOLE: Duration = Duration::from_mins(2);

/// An answer that says why not.
#[derive(Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) error: ApiError,
}

/// The bound control socket, which is removed when this is dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    listener: UnixListener,
}

impl Server {
    /// Binds the socket at `path`, in the place of one that a crashed instance left behind: whoever calls
    /// holds the lock of the state directory, so no other instance can be behind it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { path: path.to_owned(), listener })
    }

    /// Answers by `api` until the future is dropped.
    pub async fn serve(&self, api: Arc<dyn Api>) {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let api = api.clone();
                    tokio::spawn(async move {
                        connection(stream, api).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A socket that is left behind is noticed by commands and by the next instance.
        let _ = fs::remove_file(&self.path);
    }
}

async fn connection(stream: UnixStream, api: Arc<dyn Api>) {
    let service = service_fn(move |request| {
        let api = api.clone();
        async move { Ok::<_, Infallible>(respond(request, &*api).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = timeout(WHOLE, connection).await {
        tracing::debug!(%error, "an exchange on the control socket broke off");
    }
}

async fn respond(request: hyper::Request<Incoming>, api: &dyn Api) -> Response<Full<Bytes>> {
    let result = match read(request).await {
        Ok(request) => perform(request, api).await,
        Err(error) => Err(error),
    };
    let (status, body) = match result {
        Ok(value) => (StatusCode::OK, value.to_string()),
        Err(error) => {
            let status = match &error {
                ApiError::Invalid(_) => StatusCode::BAD_REQUEST,
                ApiError::NotFound(_) => StatusCode::NOT_FOUND,
                ApiError::Refused(_) => StatusCode::FORBIDDEN,
                ApiError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            (status, json!(Failure { error }).to_string())
        }
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

async fn read(request: hyper::Request<Incoming>) -> Result<Request, ApiError> {
    if request.method() != Method::POST || request.uri().path() != "/v1" {
        return Err(ApiError::Invalid("operations are sent by POST to /v1".to_owned()));
    }
    let body = timeout(HEAD, Limited::new(request.into_body(), LARGEST).collect()).await;
    let body = match body {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => return Err(ApiError::Invalid(format!("the request is not whole: {error}"))),
        Err(_) => return Err(ApiError::Invalid("the request came too slowly".to_owned())),
    };
    serde_json::from_slice(&body)
        .map_err(|error| ApiError::Invalid(format!("the request is not understood: {error}")))
}

async fn perform(request: Request, api: &dyn Api) -> Result<Value, ApiError> {
    match request {
        Request::Objects { kind, namespace, name } => objects(&kind, namespace, name, api).await,
        Request::Proxies => to_json(Listed { items: api.proxies().await? }),
        Request::Explain(question) => api.explain(&question).await,
        Request::Peers => to_json(Listed { items: api.peers().await? }),
        Request::Invite => to_json(api.invite().await?),
        Request::Join { token } => to_json(api.join(&token).await?),
        Request::Leave { name, force } => {
            api.leave(&name, force).await?;
            Ok(json!({}))
        }
    }
}

async fn objects(
    kind: &str,
    namespace: Option<String>,
    name: Option<String>,
    api: &dyn Api,
) -> Result<Value, ApiError> {
    let known = kinds::resolve(kind).ok_or_else(|| unknown(kind))?;
    let namespace = namespace.filter(|_| known.namespaced);
    let query = ObjectQuery { group: known.group, kind: known.kind, namespace, name };
    let mut items = api.objects(&query).await?;
    items.iter_mut().for_each(hide_secrets);
    match &query.name {
        Some(name) if items.is_empty() => {
            let place =
                query.namespace.map(|space| format!(" in namespace {space}")).unwrap_or_default();
            Err(ApiError::NotFound(format!("there is no {} {name}{place}", query.kind)))
        }
        _ => to_json(Listed { items }),
    }
}

fn unknown(kind: &str) -> ApiError {
    let known: Vec<String> = kinds::all().map(|kind| kind.plural).collect();
    ApiError::Invalid(format!("{kind:?} is no kind; known are {}, proxies, peers", known.join(", ")))
}

/// Replaces what a Secret holds: it is shown by nobody (design, invariant 5).
fn hide_secrets(object: &mut Value) {
    if object.get("kind").and_then(Value::as_str) != Some("Secret") {
        return;
    }
    for field in ["data", "stringData"] {
        let values = object.get_mut(field).and_then(Value::as_object_mut);
        for (_, value) in values.into_iter().flatten() {
            *value = json!("(redacted)");
        }
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        // kubectl keeps a copy of the whole object there.
        let annotations = metadata.get_mut("annotations").and_then(Value::as_object_mut);
        annotations.and_then(|all| all.remove("kubectl.kubernetes.io/last-applied-configuration"));
    }
}

fn to_json(value: impl Serialize) -> Result<Value, ApiError> {
    serde_json::to_value(value).map_err(|error| ApiError::Internal(error.to_string()))
}
