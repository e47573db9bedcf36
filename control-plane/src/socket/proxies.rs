//! Questions to proxies, which answer on their admin sockets.

use std::{fmt::Write as _, path::Path, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Full;
use hyper::{StatusCode, header};
use serde_json::Value;

use super::{
    ApiError, ProxyAnswer, ProxyInfo, Question,
    http::{ExchangeError, exchange},
};

const PATIENCE: Duration = Duration::from_secs(5);

/// How the running ones of `proxies` would decide; only those answer that listen where the request would
/// come in.
///
/// # Errors
/// When the question makes no sense, or no edge gateway answers.
pub async fn explain(proxies: &[ProxyInfo], question: &Question) -> Result<Vec<ProxyAnswer>, ApiError> {
    let path = format!("/explain?{}", query(question));
    let running = proxies.iter().filter(|proxy| proxy.role == "ingress" && proxy.pid.is_some());
    let asked = join_all(running.map(async |proxy| (proxy, ask(&proxy.admin, &path).await))).await;
    if asked.is_empty() {
        let message = "no edge gateway is running: `isthmus get gateways -A` says why";
        return Err(ApiError::NotFound(message.to_owned()));
    }
    let (mut answers, mut failed) = (Vec::new(), None);
    for (proxy, answer) in asked {
        match answer.map(sockets) {
            Ok(sockets) if sockets.is_empty() => {}
            Ok(sockets) => answers.push(ProxyAnswer { proxy: proxy.name.clone(), answers: sockets }),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if answers.is_empty() => Err(error),
        _ => Ok(answers),
    }
}

/// The `answers` of a proxy.
fn sockets(answer: Value) -> Vec<Value> {
    match answer {
        Value::Object(mut answer) => match answer.remove("answers") {
            Some(Value::Array(sockets)) => sockets,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// What the admin socket `admin` of a proxy says to `GET path`, as JSON.
///
/// # Errors
/// When it does not answer, or refuses.
pub async fn ask(admin: &Path, path: &str) -> Result<Value, ApiError> {
    let internal = |reason: &dyn std::fmt::Display| {
        ApiError::Internal(format!("the proxy at {} does not answer: {reason}", admin.display()))
    };
    let request = hyper::Request::get(path)
        .header(header::HOST, "admin")
        .body(Full::<Bytes>::default())
        .map_err(|error| internal(&error))?;
    let (status, body) = exchange(admin, request, PATIENCE).await.map_err(|error| match &error {
        ExchangeError::Connect(cause) => internal(cause),
        ExchangeError::Broken(cause) => internal(cause),
        ExchangeError::Slow(_) => internal(&error),
    })?;
    match status {
        StatusCode::OK => serde_json::from_slice(&body).map_err(|error| internal(&error)),
        StatusCode::BAD_REQUEST => {
            Err(ApiError::Invalid(String::from_utf8_lossy(&body).trim().to_owned()))
        }
        status => Err(internal(&status)),
    }
}

/// Whether the proxy with the admin socket `admin` says that it is ready.
pub async fn is_ready(admin: &Path) -> bool {
    let request = hyper::Request::get("/ready").header(header::HOST, "admin");
    let Ok(request) = request.body(Full::<Bytes>::default()) else { return false };
    let answer = exchange(admin, request, PATIENCE).await;
    answer.is_ok_and(|(status, _)| status == StatusCode::OK)
}

fn query(question: &Question) -> String {
    let mut query = String::new();
    let mut part = |name: &str, value: &str| {
        let and = if query.is_empty() { "" } else { "&" };
        let _ = write!(query, "{and}{name}=");
        value.bytes().for_each(|byte| escape(&mut query, byte));
    };
    part("method", &question.method);
    part("url", &question.url);
    for (name, value) in &question.headers {
        part("header", &format!("{name}: {value}"));
    }
    query
}

fn escape(out: &mut String, byte: u8) {
    match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
        byte => {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Question, query};

    #[test]
    fn questions_are_escaped_whole() {
        let headers = vec![("a".to_owned(), "1 2".to_owned()), ("b".to_owned(), "&=%".to_owned())];
        let question = Question { method: "GET".into(), url: "http://h/p?q#\u{e9}".into(), headers };
        assert_eq!(
            query(&question),
            "method=GET&url=http%3A%2F%2Fh%2Fp%3Fq%23%C3%A9&header=a%3A%201%202&header=b%3A%20%26%3D%25"
        );
    }
}
