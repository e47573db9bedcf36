//! Which reports of proxies count, over time: a pod that starts, and a connection that breaks for a moment,
//! are no news of what is served.
//!
//! What a proxy acked counts until its connection has been gone for seconds. One that has acked nothing yet
//! is no proof that something is not served while others have acked it, unless it takes long. The clock is
//! the caller's.

use std::{collections::BTreeMap, time::Duration};

use isthmus_world::{Change, fact::ProxyReport};
use isthmus_xds::server::{self as xds, Proxy};
use tokio::time::Instant;

/// How long what a proxy acked counts after its connection ended.
const KEPT: Duration = Duration::from_secs(5);
/// How long a proxy may be connected and ack nothing before others wait for it.
const JOINING: Duration = Duration::from_secs(30);

/// The proxies that the World knows of.
#[derive(Debug, Default)]
pub(super) struct Presence(BTreeMap<Proxy, Standing>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// Connected, and has acked something.
    Acked,
    /// What it acked counts for so long. Since when it is connected again, if it is.
    Kept { until: Instant, back: Option<Instant> },
    /// Connected, and has acked nothing; not waited for, for so long.
    Joining { until: Instant },
    /// Connected, and has acked nothing for too long.
    Late,
}
use Standing::{Acked, Joining, Kept, Late};

impl Presence {
    /// What it means to the World that `proxy` says this `now`, or is gone; none when it means nothing yet.
    pub(super) fn heard(
        &mut self,
        proxy: &Proxy,
        report: Option<xds::ProxyReport>,
        now: Instant,
    ) -> Option<Change> {
        let before = self.0.get(proxy).copied();
        let (after, told) = match (report, before) {
            (Some(report), _) if has_acked(&report) => (Some(Acked), Some(Some(fact(report)))),
            (Some(_), Some(Acked)) => (Some(kept(now, Some(now))), None),
            (Some(_), Some(Kept { until, back })) => {
                (Some(Kept { until, back: Some(back.unwrap_or(now)) }), None)
            }
            (Some(_), Some(Joining { .. } | Late)) => (before, None),
            (Some(_), None) => (Some(Joining { until: now + JOINING }), Some(Some(silent(true)))),
            (None, Some(Acked)) => (Some(kept(now, None)), None),
            (None, Some(Kept { until, .. })) => (Some(Kept { until, back: None }), None),
            (None, Some(Joining { .. } | Late) | None) => (None, Some(None)),
        };
        match after {
            Some(standing) => self.0.insert(proxy.clone(), standing),
            None => self.0.remove(proxy),
        };
        told.map(|report| change(proxy, report))
    }

    /// When time means something next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().filter_map(|standing| standing.until()).min()
    }

    /// What it means to the World that it is `now`.
    pub(super) fn passed(&mut self, now: Instant) -> Vec<Change> {
        let over = |standing: &Standing| standing.until().is_some_and(|until| until <= now);
        let over: Vec<_> = self.0.extract_if(.., |_, standing| over(standing)).collect();
        let mut changes = Vec::with_capacity(over.len());
        for (proxy, standing) in over {
            let (after, report) = match standing {
                Kept { back: Some(since), .. } => {
                    (Some(Joining { until: since + JOINING }), Some(silent(true)))
                }
                Kept { back: None, .. } => (None, None),
                Joining { .. } | Acked | Late => (Some(Late), Some(silent(false))),
            };
            changes.push(change(&proxy, report));
            self.0.extend(after.map(|standing| (proxy, standing)));
        }
        changes
    }
}

impl Standing {
    fn until(self) -> Option<Instant> {
        match self {
            Kept { until, .. } | Joining { until } => Some(until),
            Acked | Late => None,
        }
    }
}

fn kept(now: Instant, back: Option<Instant>) -> Standing {
    Kept { until: now + KEPT, back }
}

/// Whether something is in force at the proxy, or was refused by it: it is no empty report of a new stream.
fn has_acked(report: &xds::ProxyReport) -> bool {
    *report != xds::ProxyReport::default()
}

fn fact(report: xds::ProxyReport) -> ProxyReport {
    let xds::ProxyReport { revision, refused, unbound } = report;
    ProxyReport { revision, refused, unbound, joining: false }
}

/// Of a proxy that has acked nothing.
fn silent(joining: bool) -> ProxyReport {
    ProxyReport { joining, ..ProxyReport::default() }
}

fn change(proxy: &Proxy, report: Option<ProxyReport>) -> Change {
    Change::Proxy { scope: proxy.scope.clone(), proxy: proxy.id.as_str().into(), report }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use isthmus_world::{Change, fact::ProxyReport};
    use isthmus_xds::server::{self as xds, Proxy, Role};
    use tokio::time::Instant;

    use super::Presence;

    /// Proxies, a clock, and what the World was told at each time, in words.
    struct Bench {
        presence: Presence,
        start: Instant,
        now: Instant,
        told: Vec<String>,
    }

    impl Bench {
        fn new() -> Self {
            let start = Instant::now();
            Self { presence: Presence::default(), start, now: start, told: Vec::new() }
        }

        /// `name` says that it has this revision, or is gone.
        fn says(&mut self, name: &str, revision: Option<u64>) {
            let proxy = Proxy { id: name.into(), scope: "gateway/a/g".into(), role: Role::Ingress };
            let report = revision.map(|revision| xds::ProxyReport { revision, ..Default::default() });
            let change = self.presence.heard(&proxy, report, self.now);
            self.note(change);
        }

        /// Lets time pass up to so many seconds after the start, and stops wherever something is due.
        fn until(&mut self, seconds: u64) {
            let end = self.start + Duration::from_secs(seconds);
            while let Some(next) = self.presence.next().filter(|next| *next <= end) {
                self.now = next;
                let changes = self.presence.passed(next);
                assert!(!changes.is_empty(), "time stands still");
                self.note(changes);
            }
            self.now = end;
        }

        fn note(&mut self, changes: impl IntoIterator<Item = Change>) {
            let at = (self.now - self.start).as_secs();
            for change in changes {
                let Change::Proxy { proxy, report, .. } = change else { panic!("{change:?}") };
                let word = match report {
                    None => "gone".to_owned(),
                    Some(ProxyReport { revision: 0, joining: true, .. }) => "joining".to_owned(),
                    Some(ProxyReport { revision: 0, .. }) => "late".to_owned(),
                    Some(ProxyReport { revision, .. }) => revision.to_string(),
                };
                self.told.push(format!("{at}s {proxy} {word}"));
            }
        }
    }

    #[test]
    fn a_connection_that_comes_back_in_time_was_never_gone() {
        let mut bench = Bench::new();
        bench.says("p", Some(3));
        bench.until(10);
        bench.says("p", None);
        bench.until(13);
        bench.says("p", Some(0));
        bench.until(14);
        bench.says("p", Some(3));
        bench.until(100);
        assert_eq!(bench.told, ["0s p 3", "14s p 3"]);
        bench.says("p", Some(0));
        bench.says("p", Some(4));
        assert_eq!(bench.told[2..], ["100s p 4"], "another stream before the first one ended");
    }

    #[test]
    fn one_that_is_gone_for_seconds_drops_out() {
        let mut bench = Bench::new();
        bench.says("p", Some(3));
        bench.says("p", None);
        bench.until(4);
        bench.says("p", Some(0));
        bench.says("p", None);
        bench.until(100);
        assert_eq!(bench.told, ["0s p 3", "5s p gone"]);
        assert_eq!(bench.presence.next(), None);
    }

    #[test]
    fn one_that_comes_back_and_acks_nothing_is_a_new_one() {
        let mut bench = Bench::new();
        bench.says("p", Some(3));
        bench.until(10);
        bench.says("p", None);
        bench.until(12);
        bench.says("p", Some(0));
        bench.until(100);
        assert_eq!(bench.told, ["0s p 3", "15s p joining", "42s p late"]);
        bench.says("p", Some(4));
        assert_eq!(bench.told[3..], ["100s p 4"]);
    }

    #[test]
    fn a_new_one_is_waited_for_when_it_takes_long() {
        let mut bench = Bench::new();
        bench.says("p", Some(0));
        bench.until(20);
        bench.says("p", Some(0));
        bench.until(100);
        assert_eq!(bench.told, ["0s p joining", "30s p late"]);
        bench.says("p", None);
        assert_eq!(bench.told[2..], ["100s p gone"], "it acked nothing that could be kept");
        bench.says("q", Some(0));
        bench.until(110);
        bench.says("q", Some(5));
        bench.until(200);
        assert_eq!(bench.told[3..], ["100s q joining", "110s q 5"]);
    }
}
