//! Where proxies call in: open from when this replica leads until another is seen to.
//!
//! While the API server is away nobody can know who leads, and whoever led last goes on, so that a proxy
//! that starts anew is served. It may have been cut off alone, though: then another leads by now, its
//! Service means that one, and only proxies that have a stream still hang on here. So streams are ended now
//! and then in such a time, and proxies come back to where the Service leads them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use isthmus_api_server::{Leadership, Tenure};
use isthmus_xds::{
    server::{self as xds, Publisher},
    tls,
};
use rustls::ServerConfig;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use super::{
    bind,
    proof::{Proof, Served},
    wait,
};

/// Before proxies are served again.
const PAUSE: Duration = Duration::from_millis(200);
/// Streams have so long to end.
const FAREWELL: Duration = Duration::from_secs(2);
/// For how long proxies are kept while nobody knows who leads: first, and at most.
const DOUBT: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(1));

/// Where proxies call in.
pub(super) struct Door {
    pub(super) listen: SocketAddr,
    pub(super) config: watch::Receiver<Arc<ServerConfig>>,
    pub(super) publisher: Publisher,
    pub(super) served: Arc<Served>,
    pub(super) proof: Arc<Proof>,
}

impl Door {
    /// Serves while this replica may, for ever.
    pub(super) async fn open(self, mut tenure: Tenure, leadership: Leadership) {
        let mut doubt = Doubt { leadership, patience: DOUBT.0 };
        loop {
            tenure.begun().await;
            match bind(self.listen).await {
                Ok(listener) => self.serve(listener, &mut tenure, &mut doubt).await,
                Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "cannot serve"),
            }
            sleep(PAUSE).await;
        }
    }

    async fn serve(&self, listener: TcpListener, tenure: &mut Tenure, doubt: &mut Doubt) {
        let incoming = tls::incoming(listener, self.config.clone());
        // Nobody federates through proxies of pods yet: what they see of peers has no reader.
        let (observations, _) = mpsc::channel(1);
        let (publisher, served, proof) =
            (self.publisher.clone(), Arc::clone(&self.served), Arc::clone(&self.proof));
        let (end, ended) = watch::channel(false);
        let serving = xds::serve(incoming, publisher, served, proof, observations, wait(ended));
        let mut serving = std::pin::pin!(serving);
        let over = tokio::select! {
            over = &mut serving => over,
            () = either(tenure.over(), doubt.grown()) => {
                end.send_replace(true);
                timeout(FAREWELL, serving).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = over {
            tracing::error!(error = &error as &dyn std::error::Error, "no longer serving proxies");
        }
    }
}

async fn either(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    tokio::select! {
        () = one => {}
        () = other => {}
    }
}

/// Whether another may lead by now.
struct Doubt {
    leadership: Leadership,
    patience: Duration,
}

impl Doubt {
    /// Waits until proxies are to call in anew; for ever while this replica leads.
    async fn grown(&mut self) {
        loop {
            if self.leadership.holds() {
                self.patience = DOUBT.0;
                self.leadership.lost().await;
            }
            tokio::select! {
                () = sleep(self.patience) => break,
                () = self.leadership.gained() => {}
            }
        }
        tracing::warn!("nobody knows which replica leads: proxies are to call in anew");
        self.patience = (self.patience * 2).min(DOUBT.1);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{
            Arc, Mutex,
            atomic::{AtomicBool, Ordering},
        },
        time::Duration,
    };

    use http_body_util::BodyExt as _;
    use isthmus_api_server::{Client, Elector};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tokio::time::{Instant, timeout};

    use super::{DOUBT, Doubt};

    const HOUR: Duration = Duration::from_hours(1);

    /// An API server that keeps one Lease, and is away now and then.
    fn leases(away: Arc<AtomicBool>) -> Client {
        let lease = Arc::new(Mutex::new(Value::Null));
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (lease, away) = (Arc::clone(&lease), away.load(Ordering::Relaxed));
            async move {
                if away {
                    return Err(tower::BoxError::from(io::Error::from(
                        io::ErrorKind::ConnectionRefused,
                    )));
                }
                let body = request.into_body().collect().await?.to_bytes();
                let mut lease = lease.lock().unwrap();
                if !body.is_empty() {
                    *lease = serde_json::from_slice(&body)?;
                }
                let (status, body) = if lease.is_null() {
                    (
                        404,
                        json!({"kind": "Status", "apiVersion": "v1", "reason": "NotFound", "code": 404}),
                    )
                } else {
                    (200, lease.clone())
                };
                let body = Body::from(body.to_string().into_bytes());
                Ok(http::Response::builder().status(status).body(body)?)
            }
        });
        Client::new(service, "default")
    }

    #[tokio::test(start_paused = true)]
    async fn f5_proxies_are_sent_away_now_and_then_while_nobody_knows_who_leads() {
        let away = Arc::new(AtomicBool::new(false));
        let elector = Elector::new(leases(Arc::clone(&away)), "default", "writers", "one");
        let (mut leadership, mut tenure) = (elector.leadership(), elector.tenure());
        tokio::spawn(elector.run(std::future::pending()));
        let mut doubt = Doubt { leadership: leadership.clone(), patience: DOUBT.0 };
        for round in 0..2 {
            let gained = timeout(HOUR, leadership.gained()).await;
            assert!(gained.is_ok(), "it does not lead in round {round}");
            timeout(HOUR, doubt.grown()).await.expect_err("it leads");

            away.store(true, Ordering::Relaxed);
            timeout(HOUR, leadership.lost()).await.unwrap();
            let mut since = Instant::now();
            for wait in [10, 20, 40, 60, 60] {
                timeout(HOUR, doubt.grown()).await.unwrap();
                assert_eq!(since.elapsed().as_secs(), wait);
                since = Instant::now();
            }
            timeout(HOUR, tenure.over()).await.expect_err("nobody else leads");
            away.store(false, Ordering::Relaxed);
        }
    }
}
