//! Probes, off the request threads: they bring back what is out, and find out whether a silent gateway
//! is frozen.
//!
//! What refused or reset connections is probed at once and then at the policy's interval, and comes back
//! with the first answered probe; it stays out for as long as none is answered, and when it fails again
//! soon after, the time before the next probe doubles. What answered wrongly
//! (gateway errors, no answer in time) comes back when its time is over, which doubles with each
//! ejection: that its port answers proves nothing. An endpoint behind a peer's gateway cannot be probed
//! from here and comes back by time. A gateway is probed with a `ClientHello`, which any TLS byte answers:
//! a frozen process still completes TCP handshakes.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use isthmus_identity::crypto_provider;
use isthmus_ir::HealthPolicy;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{Ejected, Endpoint, Epoch, Failure, Gateway, Health, Way};

/// Where threads report what they took out.
#[derive(Clone)]
pub(crate) struct Probes(mpsc::UnboundedSender<Job>);

/// Runs the probes.
pub(crate) struct Prober(mpsc::UnboundedReceiver<Job>);

enum Job {
    Recover(Box<Recovery>),
    Suspect(Arc<Gateway>),
}

/// Everything about one record that is out. It ends when the record is dropped.
struct Recovery {
    health: HealthRef,
    policy: HealthPolicy,
    epoch: Epoch,
    target: Target,
    ejected: Ejected,
}

enum HealthRef {
    Endpoint(Weak<Health>),
    Gateway(Weak<Gateway>),
}

enum Target {
    Tcp(Box<[SocketAddr]>),
    Tls(SocketAddr),
    /// Nothing to probe: it comes back by time.
    Time,
}

impl Probes {
    /// The two ends of the queue of probes.
    pub(crate) fn new() -> (Self, Prober) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), Prober(receiver))
    }

    /// Counts a failure of `endpoint`.
    pub(crate) fn endpoint_failed(&self, endpoint: &Endpoint, failure: Failure) {
        let Some(ejected) = endpoint.health.failed(failure, &endpoint.policy) else { return };
        endpoint.epoch.advance();
        tracing::info!(service = %endpoint.service, endpoint = %endpoint.spec.id, ?failure,
            "endpoint taken out");
        let target = match (&endpoint.way, failure) {
            (Way::Direct(addresses), Failure::Connection) => Target::Tcp(addresses.clone()),
            _ => Target::Time,
        };
        self.recover(Recovery {
            health: HealthRef::Endpoint(Arc::downgrade(&endpoint.health)),
            policy: endpoint.policy.clone(),
            epoch: endpoint.epoch.clone(),
            target,
            ejected,
        });
    }

    /// Counts a failure of a connection to `gateway`.
    pub(crate) fn gateway_failed(&self, gateway: &Arc<Gateway>) {
        let policy = Gateway::policy();
        let Some(ejected) = gateway.health.failed(Failure::Connection, &policy) else { return };
        gateway.epoch.advance();
        tracing::warn!(peer = %gateway.peer, address = %gateway.address, "peer gateway taken out");
        self.recover(Recovery {
            health: HealthRef::Gateway(Arc::downgrade(gateway)),
            policy,
            epoch: gateway.epoch.clone(),
            target: Target::Tls(gateway.address),
            ejected,
        });
    }

    /// A request has waited in silence for `gateway`: one probe finds out whether it is frozen.
    pub(crate) fn suspect(&self, gateway: &Arc<Gateway>) {
        if !gateway.suspected.swap(true, Relaxed)
            && self.0.send(Job::Suspect(Arc::clone(gateway))).is_err()
        {
            gateway.suspected.store(false, Relaxed);
        }
    }

    fn recover(&self, recovery: Recovery) {
        // Without a prober the process is ending.
        let _ = self.0.send(Job::Recover(Box::new(recovery)));
    }
}

impl Prober {
    /// Runs probes for as long as there is someone to ask for them.
    pub(crate) async fn run(mut self, probes: Probes) {
        let probes = Arc::new(probes);
        while let Some(job) = self.0.recv().await {
            match job {
                Job::Recover(recovery) => drop(tokio::spawn(recovery.run())),
                Job::Suspect(gateway) => drop(tokio::spawn(examine(gateway, Arc::clone(&probes)))),
            }
        }
    }
}

async fn examine(gateway: Arc<Gateway>, probes: Arc<Probes>) {
    let policy = Gateway::policy();
    if !hello_answered(gateway.address, policy.probe_timeout).await {
        tracing::warn!(peer = %gateway.peer, address = %gateway.address, "peer gateway is silent");
        probes.gateway_failed(&gateway);
    }
    gateway.suspected.store(false, Relaxed);
}

impl Recovery {
    async fn run(self: Box<Self>) {
        let until = Instant::now() + self.time_out();
        let probed = !matches!(self.target, Target::Time);
        if self.ejected.count > 1 {
            sleep(self.pause()).await;
        }
        loop {
            if probed && self.target.answers(self.policy.probe_timeout).await {
                break;
            }
            if !probed {
                tokio::time::sleep_until(until).await;
                break;
            }
            sleep(self.policy.probe_interval).await;
            if self.with_health(|_| ()).is_none() {
                return;
            }
        }
        if self.with_health(|health| health.restore(&self.policy)).is_some() {
            tracing::info!("endpoint or gateway is back");
            self.epoch.advance();
            sleep(self.policy.max_ejection).await;
            self.with_health(Health::forgive);
        }
    }

    /// The time out of balancing, which doubles with each ejection.
    fn time_out(&self) -> Duration {
        let doublings = u32::from(self.ejected.count.saturating_sub(1)).min(16);
        (self.policy.base_ejection * 2_u32.pow(doublings)).min(self.policy.max_ejection)
    }

    /// The time before the first probe of what was back already and failed again.
    fn pause(&self) -> Duration {
        let doublings = u32::from(self.ejected.count.saturating_sub(2)).min(16);
        (self.policy.probe_interval * 2_u32.pow(doublings)).min(self.policy.max_ejection)
    }

    fn with_health<T>(&self, act: impl FnOnce(&Health) -> T) -> Option<T> {
        match &self.health {
            HealthRef::Endpoint(health) => health.upgrade().map(|h| act(&h)),
            HealthRef::Gateway(gateway) => gateway.upgrade().map(|g| act(&g.health)),
        }
    }
}

impl Target {
    async fn answers(&self, within: Duration) -> bool {
        match self {
            Self::Tcp(addresses) => {
                for address in addresses {
                    if matches!(timeout(within, TcpStream::connect(address)).await, Ok(Ok(_))) {
                        return true;
                    }
                }
                false
            }
            Self::Tls(address) => hello_answered(*address, within).await,
            Self::Time => false,
        }
    }
}

/// Whether any byte answers a `ClientHello` within the time.
async fn hello_answered(address: SocketAddr, within: Duration) -> bool {
    let probe = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&client_hello()?).await?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await
    };
    matches!(timeout(within, probe).await, Ok(Ok(_)))
}

/// A `ClientHello` for a name that no handle has, so that it leads nowhere.
fn client_hello() -> io::Result<Vec<u8>> {
    let config = rustls::ClientConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("probe").map_err(io::Error::other)?;
    let mut connection =
        rustls::ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut hello = Vec::with_capacity(2048);
    while connection.wants_write() {
        connection.write_tls(&mut hello)?;
    }
    Ok(hello)
}
