//! Who may write and who may serve, on a Lease in memory and a clock that nobody waits for.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::{sync::watch, time::timeout};

use super::{Elector, Leadership, Tenure};
use crate::fake::{self, Answer, Asked};

const HOUR: Duration = Duration::from_hours(1);

/// A Lease, and what happens to those who write it.
#[derive(Default)]
struct Store {
    lease: Option<Value>,
    version: u64,
    /// So many writes come after one of somebody else, who annotates the Lease.
    annotated: usize,
    /// So many writes go through and are answered as those who come too late are: their first answer was
    /// lost, and they were made again.
    repeated: usize,
}

type Shared = Arc<Mutex<Store>>;

impl Store {
    fn answer(&mut self, asked: Asked) -> Answer {
        assert!(asked.path.starts_with("/apis/coordination.k8s.io/v1/namespaces/default/leases"));
        match (asked.method.as_str(), &self.lease) {
            ("GET", None) => fake::refused(404),
            ("GET", Some(lease)) => fake::whole(200, lease),
            ("POST", Some(_)) => fake::refused(409),
            ("POST", None) => fake::whole(201, &self.put(asked.body)),
            ("PUT", Some(_)) => self.replace(asked.body),
            (method, _) => panic!("{method}"),
        }
    }

    fn replace(&mut self, lease: Value) -> Answer {
        if take_one(&mut self.annotated) {
            let annotated = self.lease.clone().unwrap();
            self.put(annotated);
        }
        let read = lease["metadata"]["resourceVersion"].as_str().unwrap();
        if read.parse() != Ok(self.version) {
            return fake::refused(409);
        }
        let lease = self.put(lease);
        if take_one(&mut self.repeated) {
            return fake::refused(409);
        }
        fake::whole(200, &lease)
    }

    fn put(&mut self, mut lease: Value) -> Value {
        self.version += 1;
        lease["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.lease = Some(lease.clone());
        lease
    }
}

fn take_one(left: &mut usize) -> bool {
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}

/// One who would hold the Lease.
struct Candidate {
    leadership: Leadership,
    tenure: Tenure,
    away: Arc<AtomicBool>,
    end: watch::Sender<bool>,
}

fn stand(store: &Shared, name: &str) -> Candidate {
    let (store, away) = (Arc::clone(store), Arc::new(AtomicBool::new(false)));
    let cut = Arc::clone(&away);
    let client = fake::client(move |asked| {
        if cut.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(store.lock().unwrap().answer(asked))
    });
    let elector = Elector::new(client, "default", "writers", name);
    let (leadership, tenure) = (elector.leadership(), elector.tenure());
    let (end, mut ended) = watch::channel(false);
    tokio::spawn(elector.run(async move {
        let _ = ended.wait_for(|ended| *ended).await;
    }));
    Candidate { leadership, tenure, away, end }
}

#[tokio::test(start_paused = true)]
async fn f5_while_nobody_can_renew_who_led_last_serves_on_and_writes_nothing() {
    let store = Shared::default();
    let mut one = stand(&store, "one");
    timeout(HOUR, one.leadership.gained()).await.unwrap();
    let two = stand(&store, "two");
    for one in [&one, &two] {
        one.away.store(true, Ordering::Relaxed);
    }
    timeout(HOUR, one.leadership.lost()).await.unwrap();
    timeout(HOUR, one.tenure.over()).await.unwrap_err();
    assert!(!one.leadership.holds() && one.tenure.lasts());
    assert!(!two.leadership.holds() && !two.tenure.lasts());

    one.away.store(false, Ordering::Relaxed);
    timeout(HOUR, one.leadership.gained()).await.unwrap();
    assert!(one.tenure.lasts());
    assert_eq!(store.lock().unwrap().lease.clone().unwrap()["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn f5_who_sees_that_another_leads_serves_no_more() {
    let store = Shared::default();
    let mut one = stand(&store, "one");
    timeout(HOUR, one.leadership.gained()).await.unwrap();
    let mut two = stand(&store, "two");
    one.away.store(true, Ordering::Relaxed);
    timeout(HOUR, two.leadership.gained()).await.unwrap();
    assert!(!one.leadership.holds(), "two may write");
    assert!(one.tenure.lasts() && two.tenure.lasts());
    one.away.store(false, Ordering::Relaxed);
    timeout(HOUR, one.tenure.over()).await.unwrap();
    timeout(HOUR, two.leadership.lost()).await.unwrap_err();

    two.end.send_replace(true);
    timeout(HOUR, two.tenure.over()).await.unwrap();
    timeout(Duration::from_secs(5), one.tenure.begun()).await.unwrap();
    assert!(one.leadership.holds() && !two.leadership.holds());
}

#[tokio::test(start_paused = true)]
async fn f5_who_ends_while_it_cannot_renew_gives_back_what_is_still_its_own() {
    let store = Shared::default();
    let mut one = stand(&store, "one");
    timeout(HOUR, one.leadership.gained()).await.unwrap();
    one.away.store(true, Ordering::Relaxed);
    timeout(HOUR, one.leadership.lost()).await.unwrap();
    one.away.store(false, Ordering::Relaxed);
    one.end.send_replace(true);
    let mut two = stand(&store, "two");
    timeout(Duration::from_secs(5), two.leadership.gained()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn f5_a_conflict_costs_no_lease() {
    let store = Shared::default();
    let mut one = stand(&store, "one");
    timeout(HOUR, one.leadership.gained()).await.unwrap();
    for (annotated, repeated) in [(1, 0), (2, 0), (0, 1), (0, 2), (1, 1)] {
        {
            let mut store = store.lock().unwrap();
            (store.annotated, store.repeated) = (annotated, repeated);
        }
        timeout(Duration::from_mins(1), one.leadership.lost()).await.unwrap_err();
        let store = store.lock().unwrap();
        assert_eq!((store.annotated, store.repeated), (0, 0), "it came to a conflict");
    }
    assert!(one.tenure.lasts());
}
