//! An API server for the tests of this crate, in memory: each test says what it answers.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{Request, Response, body::Frame};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::time::sleep;
use tower::{BoxError, service_fn};

/// What a client asks.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    /// Null where there is none.
    pub(crate) body: Value,
}

/// What it is answered.
pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A client that is answered by `answer`; an error is that there is no connection.
pub(crate) fn client(answer: impl Fn(Asked) -> io::Result<Answer> + Send + Sync + 'static) -> Client {
    let answer = Arc::new(answer);
    let service = service_fn(move |request: Request<Body>| {
        let answer = Arc::clone(&answer);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let asked = Asked {
                method: head.method.to_string(),
                path: head.uri.path().to_owned(),
                query: head.uri.query().unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            Ok::<_, BoxError>(answer(asked)?)
        }
    });
    Client::new(service, "default")
}

/// One whole answer.
pub(crate) fn whole(code: u16, body: &Value) -> Answer {
    let body = Full::new(Bytes::from(body.to_string())).boxed_unsync();
    Response::builder().status(code).body(body).unwrap()
}

/// An error, as an API server says it.
pub(crate) fn refused(code: u16) -> Answer {
    let reason = if code == 404 { "NotFound" } else { "Test" };
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("refused with {code}"), "reason": reason, "code": code});
    whole(code, &status)
}

/// A watch that tells of these and ends after so long.
pub(crate) fn watch(events: &[Value], life: Duration) -> Answer {
    let lines = events.iter().fold(String::new(), |lines, event| format!("{lines}{event}\n"));
    let frames =
        stream::iter([(Duration::ZERO, lines), (life, String::new())]).then(async |(wait, lines)| {
            sleep(wait).await;
            Ok(Frame::data(Bytes::from(lines)))
        });
    Response::new(StreamBody::new(Box::pin(frames)).boxed_unsync())
}
