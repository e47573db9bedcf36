//! The control socket: what `isthmus get`, `explain` and `peer` ask of a running instance.
//!
//! HTTP/1.1 with JSON over a Unix socket that only its owner may open. Reading takes a look at what the
//! core last wrote down; nothing here waits for it.

mod query;

use std::{
    convert::Infallible,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::UnixListener;

use crate::{
    client,
    store::{Selection, Store},
    supervisor::Processes,
};

/// A connection that asks nothing for this long is closed.
const IDLE: Duration = Duration::from_secs(30);

/// What is asked about.
#[derive(Clone, Debug)]
pub struct Door {
    /// Objects with their status.
    pub store: Arc<RwLock<Store>>,
    /// Proxies.
    pub processes: Processes,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The question makes no sense.
    #[error("{0}")]
    Question(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// Something that was asked in turn did not answer.
    #[error("{0}")]
    Failed(String),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Question(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Failed(_) => StatusCode::BAD_GATEWAY,
        }
    }
}

/// Answers on `listener` for ever.
pub async fn serve(listener: UnixListener, door: Door) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let door = door.clone();
                tokio::spawn(async move {
                    let answer = service_fn(|request| answer(&door, request));
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(IDLE)
                        .serve_connection(TokioIo::new(stream), answer);
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "connection to the control socket ended badly");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(door: &Door, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match page(door, &request).await {
        Ok(value) => (StatusCode::OK, value),
        Err(refusal) => (refusal.status(), json!({ "error": refusal.to_string() })),
    };
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Ok(response)
}

async fn page(door: &Door, request: &Request<Incoming>) -> Result<Value, Refusal> {
    let query = request.uri().query().unwrap_or_default();
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/objects") => door.objects(query),
        (&Method::GET, "/proxies") => Ok(json!({ "items": door.processes.list() })),
        (&Method::GET, "/explain") => door.explain(query).await,
        (method, path) => Err(Refusal::NotFound(format!("nothing answers to {method} {path}"))),
    }
}

impl Door {
    fn objects(&self, query: &str) -> Result<Value, Refusal> {
        let mut selection = Selection::default();
        for (name, value) in query::pairs(query).map_err(Refusal::Question)? {
            match name.as_str() {
                "group" => selection.group = value,
                "kind" => selection.kind = value,
                "namespace" => selection.namespace = Some(value),
                "name" => selection.name = Some(value),
                other => return Err(Refusal::Question(format!("nothing is selected by {other:?}"))),
            }
        }
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        Ok(json!({ "items": store.select(&selection) }))
    }

    /// Asks every ingress proxy that runs.
    async fn explain(&self, query: &str) -> Result<Value, Refusal> {
        let mut answers = Vec::new();
        for process in self.processes.list() {
            if process.role == "ingress" && process.pid.is_some() {
                let said = ask(&process.admin, query).await?;
                for mut answer in
                    said.get("answers").and_then(Value::as_array).cloned().unwrap_or_default()
                {
                    if let Some(fields) = answer.as_object_mut() {
                        fields.insert("proxy".to_owned(), json!(process.name));
                    }
                    answers.push(answer);
                }
            }
        }
        Ok(json!({ "answers": answers }))
    }
}

async fn ask(admin: &Path, query: &str) -> Result<Value, Refusal> {
    client::get(admin, &format!("/explain?{query}")).await.map_err(|error| match error {
        client::ClientError::Refused { status: 400, message } => Refusal::Question(message),
        other => Refusal::Failed(format!("a proxy does not answer: {other}")),
    })
}
