//! Who may write: the holder of a Lease (`coordination.k8s.io/v1`).
//!
//! Taking and renewing are compare-and-swap by `resourceVersion`, and how old a renewal is, is measured on
//! this process's own monotonic clock from when it was seen, so that nobody's wall clock counts. The holder
//! stops believing in itself before anybody else may take over, and each write that it makes is fenced by
//! the `resourceVersion` of what it read (case F5).
//!
//! To write is one thing, and to serve is another: who cannot renew its Lease may not write any more, and
//! goes on to serve until it sees that another is the holder. While the API server is away nobody is.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::resource::code;

/// How long a Lease holds after it was renewed.
const LIFE: Duration = Duration::from_secs(15);
/// The holder stops so long before that.
const MARGIN: Duration = Duration::from_secs(5);
/// Between two renewals.
const RENEW: Duration = Duration::from_secs(4);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Between two looks at another's Lease, and after a failure.
const LOOK: Duration = Duration::from_secs(2);
/// How often one attempt looks again after somebody else was faster.
const CONFLICTS: usize = 3;

/// Whether this process may write. Cloning copies a pointer.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<Option<Instant>>);

impl Leadership {
    /// Whether it may now. To be asked before each write.
    pub fn holds(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until it may.
    pub async fn gained(&mut self) {
        let gained = |until: &Option<Instant>| until.is_some_and(|until| Instant::now() < until);
        if self.0.wait_for(gained).await.is_err() {
            // The elector is gone: never again.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until it may not any more.
    pub async fn lost(&mut self) {
        loop {
            let Some(until) = *self.0.borrow_and_update() else { return };
            tokio::select! {
                () = tokio::time::sleep_until(until) => {
                    if !self.holds() {
                        return;
                    }
                }
                changed = self.0.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Whether this process may serve: from when it has taken the Lease until another is seen to have it, or
/// until it ends. Cloning copies a pointer.
#[derive(Clone, Debug)]
pub struct Tenure(watch::Receiver<bool>);

impl Tenure {
    /// Whether it may now.
    pub fn lasts(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it may.
    pub async fn begun(&mut self) {
        if self.0.wait_for(|lasts| *lasts).await.is_err() {
            // The elector is gone: never again.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until it may not any more.
    pub async fn over(&mut self) {
        // Without the elector nobody may.
        let _ = self.0.wait_for(|lasts| !*lasts).await;
    }
}

/// Takes and holds a Lease.
pub struct Elector {
    leases: Api<Lease>,
    name: String,
    holder: String,
    owner: Option<OwnerReference>,
    until: watch::Sender<Option<Instant>>,
    serves: watch::Sender<bool>,
    /// The newest foreign renewal, and when it was first seen.
    seen: Option<(String, Instant)>,
}

impl Elector {
    /// For the Lease `namespace/name`, in the name of `holder`, which is unique among those who may take it:
    /// a pod's name.
    pub fn new(client: Client, namespace: &str, name: &str, holder: &str) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            holder: holder.to_owned(),
            owner: None,
            until: watch::Sender::new(None),
            serves: watch::Sender::new(false),
            seen: None,
        }
    }

    /// A Lease that has to be made goes when `owner` goes.
    #[must_use]
    pub fn owned_by(self, owner: OwnerReference) -> Self {
        Self { owner: Some(owner), ..self }
    }

    /// Tells whether this process may write.
    pub fn leadership(&self) -> Leadership {
        Leadership(self.until.subscribe())
    }

    /// Tells whether this process may serve.
    pub fn tenure(&self) -> Tenure {
        Tenure(self.serves.subscribe())
    }

    /// Takes the Lease when it can be had and renews it, until `shutdown`; then gives it back.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let wait = tokio::select! {
                wait = self.turn() => wait,
                () = &mut shutdown => break,
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = &mut shutdown => break,
            }
        }
        self.until.send_replace(None);
        if !self.serves.send_replace(false) {
            return;
        }
        let given_back = timeout(ATTEMPT, self.give_back()).await;
        if let Err(error) = given_back.unwrap_or_else(|_| Err(timed_out())) {
            tracing::debug!(%error, "lease not given back");
        }
    }

    /// One attempt; how long to wait for the next.
    async fn turn(&mut self) -> Duration {
        let started = Instant::now();
        // A request that is stuck must not keep the next one from being made.
        let attempt = timeout(ATTEMPT, self.attempt()).await;
        match attempt.unwrap_or_else(|_| Err(timed_out())) {
            Ok(true) => {
                let until = started + LIFE - MARGIN;
                let before = self.until.send_replace(Some(until));
                if before.is_none_or(|until| until < started) {
                    tracing::info!(lease = self.name, holder = self.holder, "lease taken");
                }
                self.serves.send_if_modified(|serves| !std::mem::replace(serves, true));
                RENEW
            }
            Ok(false) => {
                self.step_down("somebody else has it");
                if self.serves.send_if_modified(|serves| std::mem::replace(serves, false)) {
                    tracing::info!(lease = self.name, "another serves from now on");
                }
                LOOK
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(lease = self.name, error, "lease cannot be renewed");
                if self.until.borrow().is_some_and(|until| until < Instant::now()) {
                    self.step_down("it was not renewed in time");
                }
                LOOK
            }
        }
    }

    fn step_down(&self, why: &str) {
        if self.until.send_replace(None).is_some() {
            tracing::warn!(lease = self.name, why, "lease lost");
        }
    }

    /// Whether the Lease is ours now.
    ///
    /// That somebody was faster says nothing of who holds it: it may have been annotated, or a write of ours
    /// have gone through whose answer was lost. It is looked at again.
    async fn attempt(&mut self) -> kube::Result<bool> {
        for _ in 0..CONFLICTS {
            match self.claimed().await {
                Err(error) if code(&error) == Some(409) => {}
                claimed => return claimed,
            }
        }
        self.claimed().await
    }

    async fn claimed(&mut self) -> kube::Result<bool> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
            let metadata = ObjectMeta {
                name: Some(self.name.clone()),
                owner_references: self.owner.clone().map(|owner| vec![owner]),
                ..ObjectMeta::default()
            };
            let lease = Lease { metadata, spec: Some(self.claim(None)) };
            return self.leases.create(&PostParams::default(), &lease).await.map(|_| true);
        };
        if !self.may_take(&lease) {
            return Ok(false);
        }
        lease.spec = Some(self.claim(lease.spec.take()));
        // It carries the resourceVersion that was read: whoever comes second is refused.
        self.leases.replace(&self.name, &PostParams::default(), &lease).await.map(|_| true)
    }

    /// Whether the Lease is ours, nobody's, or was not renewed for as long as it said.
    fn may_take(&mut self, lease: &Lease) -> bool {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        if holder.is_empty() || holder == self.holder {
            self.seen = None;
            return true;
        }
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let life = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let life = life.map_or(LIFE, Duration::from_secs);
        match &self.seen {
            Some((known, since)) if *known == version => since.elapsed() >= life,
            _ => {
                self.seen = Some((version, Instant::now()));
                false
            }
        }
    }

    fn claim(&self, old: Option<LeaseSpec>) -> LeaseSpec {
        let old = old.unwrap_or_default();
        let now = Some(MicroTime(Timestamp::now()));
        let same = old.holder_identity.as_deref() == Some(&self.holder);
        LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: i32::try_from(LIFE.as_secs()).ok(),
            renew_time: now.clone(),
            acquire_time: if same { old.acquire_time } else { now },
            lease_transitions: Some(old.lease_transitions.unwrap_or(0) + i32::from(!same)),
            ..old
        }
    }

    async fn give_back(&self) -> kube::Result<()> {
        let mut lease = self.leases.get(&self.name).await?;
        let Some(spec) = lease.spec.as_mut() else { return Ok(()) };
        if spec.holder_identity.as_deref() != Some(&self.holder) {
            return Ok(());
        }
        spec.holder_identity = None;
        self.leases.replace(&self.name, &PostParams::default(), &lease).await.map(drop)
    }
}

fn timed_out() -> kube::Error {
    kube::Error::Service("no answer in time".into())
}

#[cfg(test)]
mod tests;
