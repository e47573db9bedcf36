//! A steady open-loop load: requests are due at fixed times, whether or not earlier ones were answered.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, client::legacy::connect::HttpConnector, rt::TokioExecutor};
use tokio::time::Instant;

use crate::{echo::SERVED_BY, stats::Sample};

/// How long a client of the demo waits for an answer before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Every fifth request is a POST with a body.
const POST_EVERY: u64 = 5;
const BODY: &[u8] = &[b'x'; 1024];

type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// A load that is running.
pub struct Load {
    began: Instant,
    samples: Arc<Mutex<Vec<Sample>>>,
    stop: Arc<AtomicBool>,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// Sends `rate` requests a second to `edge` for `host`.
    pub fn start(edge: SocketAddr, host: &'static str, rate: u32) -> Self {
        let client: HttpClient =
            Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http();
        let (samples, stop) = (Arc::<Mutex<Vec<Sample>>>::default(), Arc::<AtomicBool>::default());
        let began = Instant::now();
        let (sink, halt) = (samples.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
            for number in 0_u64.. {
                let due = ticks.tick().await;
                if halt.load(Ordering::Relaxed) {
                    break;
                }
                let (client, sink) = (client.clone(), sink.clone());
                tokio::spawn(async move {
                    let sample = one(&client, edge, host, number, began, due).await;
                    sink.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                });
            }
        });
        Self { began, samples, stop, task: Some(task) }
    }

    /// Time since the load began.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The samples that were due in `from..to`, once all of them are done.
    pub async fn between(&self, from: Duration, to: Duration) -> Vec<Sample> {
        tokio::time::sleep_until(self.began + to + Duration::from_millis(50)).await;
        let settled = |samples: &[Sample]| {
            let latest = samples.iter().map(|s| s.due).max().unwrap_or_default();
            latest >= to.saturating_sub(Duration::from_millis(10))
        };
        let deadline = Instant::now() + PATIENCE;
        let mut known = 0;
        loop {
            let taken: Vec<Sample> = {
                let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
                samples.iter().filter(|s| s.due >= from && s.due < to).cloned().collect()
            };
            // Done when nothing more arrives, or nothing can: a request is given up after PATIENCE.
            if (settled(&taken) && taken.len() == known) || Instant::now() > deadline {
                return taken;
            }
            known = taken.len();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Whether an answer that was due after `since` came from `cluster`.
    pub fn served_by(&self, cluster: &str, since: Duration) -> bool {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let by_cluster = |s: &&Sample| {
            s.outcome.as_ref().is_ok_and(|server| server.split('/').next() == Some(cluster))
        };
        samples.iter().rev().take_while(|s| s.due >= since).any(|s| by_cluster(&s))
    }

    /// Ends the load, if it has not ended.
    pub async fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let Some(task) = self.task.take() else { return };
        if let Err(error) = task.await {
            tracing::warn!(%error, "the load ended early");
        }
    }
}

async fn one(
    client: &HttpClient,
    edge: SocketAddr,
    host: &'static str,
    number: u64,
    began: Instant,
    due: Instant,
) -> Sample {
    let idempotent = !number.is_multiple_of(POST_EVERY);
    let outcome = match tokio::time::timeout(PATIENCE, exchange(client, edge, host, idempotent)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    Sample { due: due.duration_since(began), done: began.elapsed(), idempotent, outcome }
}

/// Sends one request and checks its answer; the name of who served it.
async fn exchange(
    client: &HttpClient,
    edge: SocketAddr,
    host: &'static str,
    idempotent: bool,
) -> Result<String, String> {
    let (method, body) = if idempotent { (Method::GET, &[][..]) } else { (Method::POST, BODY) };
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{edge}/hello"))
        .header(http::header::HOST, host)
        .body(Full::new(Bytes::from_static(body)))
        .map_err(|e| e.to_string())?;
    let response = client.request(request).await.map_err(|e| error_chain(&e))?;
    let status = response.status();
    let server = response.headers().get(SERVED_BY).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let answer = response.into_body().collect().await.map_err(|e| error_chain(&e))?.to_bytes();
    match server {
        Some(_) if !idempotent && answer != body => Err("the echoed body differs".to_owned()),
        Some(server) if status.is_success() => Ok(server),
        _ => Err(format!("{status}: {}", String::from_utf8_lossy(&answer).trim())),
    }
}

fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
