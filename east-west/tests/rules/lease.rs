//! The bounds of both leases (design, section 7; case H5).

use std::time::Duration;

use isthmus_east_west::lease::{Effect, Evidence, Lease, Timing};
use isthmus_world::fact::PeerState;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

/// A lease that is driven as it asks to be, and the names of what it said, with the time in seconds.
struct Driven {
    lease: Lease,
    now: Duration,
    said: Vec<(Duration, Effect)>,
    /// What probes find.
    answers: bool,
    /// Whether heartbeats come every five seconds.
    beats: bool,
    /// The next one.
    beat: Duration,
}

impl Driven {
    fn new() -> Self {
        let lease = Lease::new(Timing::default(), Duration::ZERO);
        Self {
            lease,
            now: Duration::ZERO,
            said: Vec::new(),
            answers: true,
            beats: true,
            beat: Duration::ZERO,
        }
    }

    fn feed(&mut self, evidence: Evidence) {
        let effects = self.lease.on_event(self.now, evidence);
        let probed = effects.contains(&Effect::Probe);
        self.said.extend(effects.into_iter().map(|e| (self.now, e)));
        if probed {
            let found = if self.answers { Evidence::Reached } else { Evidence::Unreached };
            self.said.extend(self.lease.on_event(self.now, found).into_iter().map(|e| (self.now, e)));
        }
    }

    /// Runs for `time`.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.lease.deadline().min(self.beat).min(end).max(self.now);
            self.feed(Evidence::Tick);
            if self.now >= self.beat {
                self.beat = self.now + 5 * SECOND;
                if self.beats {
                    self.feed(Evidence::Heartbeat);
                }
            }
        }
    }

    /// Runs until the state is `state`; how long that took.
    fn until(&mut self, state: PeerState) -> Duration {
        let begin = self.now;
        while self.lease.state() != state {
            assert!(self.now < begin + 20_000 * SECOND, "never {state:?}");
            self.run(SECOND / 4);
        }
        self.now - begin
    }
}

#[test]
fn h5_a_cut_control_link_is_marked_and_changes_nothing_else() {
    let mut peer = Driven::new();
    peer.run(20 * SECOND);
    peer.beats = false;
    assert!(peer.until(PeerState::ControlLost) <= 15 * SECOND);
    peer.run(3600 * 100 * SECOND);
    assert_eq!(peer.lease.state(), PeerState::ControlLost);
    peer.beats = true;
    assert!(peer.until(PeerState::Connected) <= 5 * SECOND);
    assert!(!peer.said.iter().any(|(_, e)| matches!(e, Effect::Forget)));
}

#[test]
fn h5_an_unreachable_peer_is_out_after_its_lease_and_a_probe_though_control_lives() {
    let mut peer = Driven::new();
    peer.run(SECOND);
    peer.feed(Evidence::Reached);
    peer.answers = false;
    assert_eq!(peer.until(PeerState::DataLost), 16 * SECOND);
    let probes = peer.said.iter().filter(|(at, e)| *e == Effect::Probe && *at > SECOND).count();
    assert_eq!(probes, 6, "it was asked for the last third, and once more");
    peer.run(36_000 * SECOND);
    assert_eq!(peer.lease.state(), PeerState::DataLost, "as long as control lives it is not forgotten");
}

#[test]
fn a_peer_that_nobody_uses_is_probed_and_kept() {
    let mut peer = Driven::new();
    peer.run(3600 * SECOND);
    assert_eq!(peer.lease.state(), PeerState::Connected);
    let probes = peer.said.iter().filter(|(_, e)| *e == Effect::Probe).count();
    assert!((340..=361).contains(&probes), "{probes} probes in an hour");
}

#[test]
fn one_proxy_that_gets_no_answer_is_outvoted_by_one_that_does() {
    let mut peer = Driven::new();
    peer.answers = false;
    for _ in 0..100 {
        peer.feed(Evidence::Unreached);
        peer.run(10 * SECOND);
        peer.feed(Evidence::Reached);
        peer.feed(Evidence::Unreached);
    }
    assert_eq!(peer.lease.state(), PeerState::Connected);
}

#[test]
fn after_a_pause_it_is_probed_before_it_is_dropped() {
    let mut peer = Driven::new();
    peer.run(20 * SECOND);
    peer.now += 600 * SECOND;
    peer.feed(Evidence::Tick);
    assert_eq!(peer.lease.state(), PeerState::Connected, "the pause is no evidence");
    peer.run(20 * SECOND);
    assert_eq!(peer.lease.state(), PeerState::Connected);
}

#[test]
fn who_doubted_before_a_pause_doubts_afresh() {
    // Nobody answers until the last probe is under way; then comes the pause.
    let mut peer = Driven::new();
    peer.answers = false;
    peer.run(15 * SECOND);
    assert_eq!(peer.said.last(), Some(&(15 * SECOND, Effect::Probe)));
    peer.now += 600 * SECOND;
    peer.feed(Evidence::Tick);
    assert_eq!(peer.said.last(), Some(&(615 * SECOND, Effect::Probe)), "it is asked at once");
    // Four seconds without an answer are not enough after it, though all of it were before.
    peer.run(4 * SECOND);
    assert_eq!(peer.lease.state(), PeerState::Connected);
    peer.answers = true;
    peer.run(20 * SECOND);
    assert_eq!(peer.lease.state(), PeerState::Connected);
    // A dead one is out all the same, a third of the lease and a probe later.
    let mut peer = Driven::new();
    peer.answers = false;
    peer.run(15 * SECOND);
    peer.now += 600 * SECOND;
    peer.feed(Evidence::Tick);
    assert_eq!(peer.until(PeerState::DataLost), 6 * SECOND);
}

#[test]
fn after_a_pause_a_dead_peer_is_dropped_within_the_usual_bounds() {
    let mut peer = Driven::new();
    peer.run(20 * SECOND);
    peer.now += 600 * SECOND;
    (peer.answers, peer.beats) = (false, false);
    assert!(peer.until(PeerState::Lost) <= 17 * SECOND);
}

#[test]
fn each_loss_doubles_the_evidence_that_a_return_needs() {
    let mut peer = Driven::new();
    let mut returns = Vec::new();
    for _ in 0..9 {
        peer.answers = false;
        peer.until(PeerState::DataLost);
        peer.run(2 * SECOND);
        peer.answers = true;
        returns.push(peer.until(PeerState::Connected).as_secs());
    }
    for (index, took) in returns.iter().enumerate() {
        let hold = (1 << index).min(60);
        assert!((hold..=hold + 1).contains(took), "return {index} took {took} s");
    }
}

#[test]
fn after_a_calm_time_losses_are_forgiven() {
    let mut peer = Driven::new();
    for _ in 0..6 {
        peer.answers = false;
        peer.until(PeerState::DataLost);
        peer.answers = true;
        peer.until(PeerState::Connected);
    }
    peer.run(300 * SECOND);
    peer.answers = false;
    peer.until(PeerState::DataLost);
    peer.answers = true;
    assert!(peer.until(PeerState::Connected) <= 2 * SECOND);
}

#[test]
fn single_answers_with_silence_between_bring_nobody_back() {
    let mut peer = Driven::new();
    peer.answers = false;
    peer.until(PeerState::DataLost);
    for _ in 0..50 {
        // Between the answers probes find nobody.
        peer.feed(Evidence::Reached);
        peer.run(2 * SECOND);
    }
    assert_eq!(peer.lease.state(), PeerState::DataLost);
}

#[test]
fn h5_a_lost_peer_is_forgotten_after_the_grace_period_and_buried_after_twice_as_long() {
    let mut peer = Driven::new();
    (peer.answers, peer.beats) = (false, false);
    peer.until(PeerState::Lost);
    let lost = peer.now;
    peer.run(5 * 3600 * SECOND);
    let when =
        |effect| peer.said.iter().find(|(_, e)| *e == effect).map(|(at, _)| (*at - lost).as_secs());
    assert!((3600..=3601).contains(&when(Effect::Forget).unwrap()));
    assert!((3 * 3600..=3 * 3600 + 1).contains(&when(Effect::Bury).unwrap()));
    assert_eq!(peer.said.iter().filter(|(_, e)| matches!(e, Effect::Forget | Effect::Bury)).count(), 2);
}

#[test]
fn time_that_was_not_lived_through_forgets_nobody() {
    let mut peer = Driven::new();
    (peer.answers, peer.beats) = (false, false);
    peer.until(PeerState::Lost);
    for _ in 0..10 {
        peer.now += 3600 * SECOND;
        peer.run(10 * SECOND);
    }
    assert!(!peer.said.iter().any(|(_, e)| *e == Effect::Forget));
}

#[test]
fn a_restart_begins_where_it_was() {
    let live = Driven::new().lease.save();
    let restored = Lease::restored(Timing::default(), live, 7 * SECOND);
    assert_eq!((restored.state(), restored.save()), (PeerState::Connected, live));

    let mut lost = Driven::new();
    (lost.answers, lost.beats) = (false, false);
    lost.until(PeerState::Lost);
    lost.run(1800 * SECOND);
    let saved: isthmus_east_west::lease::Saved =
        serde_json::from_str(&serde_json::to_string(&lost.lease.save()).unwrap()).unwrap();
    let mut again =
        Driven { lease: Lease::restored(Timing::default(), saved, Duration::ZERO), ..Driven::new() };
    (again.answers, again.beats) = (false, false);
    assert_eq!(again.lease.state(), PeerState::Lost, "one that was out has to prove itself");
    again.run(1900 * SECOND);
    assert!(again.said.iter().any(|(_, e)| *e == Effect::Forget), "the grace period goes on");
    again.answers = true;
    assert!(again.until(PeerState::ControlLost) <= 3 * SECOND);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u64),
    Say(Evidence),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The table of bounds, against nothing but the times of the last evidence.
    #[test]
    fn bounds_hold_whatever_is_said(steps in prop::collection::vec(prop_oneof![
        2 => (1..9000_u64).prop_map(Step::Wait),
        1 => Just(Step::Say(Evidence::Heartbeat)),
        1 => Just(Step::Say(Evidence::Reached)),
        1 => Just(Step::Say(Evidence::Unreached)),
    ], 1..80)) {
        let timing = Timing::default();
        let (mut lease, mut now) = (Lease::new(timing, Duration::ZERO), Duration::ZERO);
        let (mut beat, mut reached) = (Duration::ZERO, Duration::ZERO);
        // Since when it has answered steadily, if it has.
        let mut steady: Option<Duration> = None;
        let mut events = Vec::new();
        for step in steps {
            match step {
                Step::Wait(millis) => {
                    let end = now + Duration::from_millis(millis);
                    while now < end {
                        now = lease.deadline().min(end).max(now + Duration::from_millis(1));
                        events.push((now, Evidence::Tick));
                        check(&mut lease, &timing, &mut events, &mut beat, &mut reached, &mut steady)?;
                    }
                }
                Step::Say(evidence) => {
                    events.push((now, evidence));
                    check(&mut lease, &timing, &mut events, &mut beat, &mut reached, &mut steady)?;
                }
            }
        }
    }
}

fn check(
    lease: &mut Lease,
    timing: &Timing,
    events: &mut Vec<(Duration, Evidence)>,
    beat: &mut Duration,
    reached: &mut Duration,
    steady: &mut Option<Duration>,
) -> Result<(), TestCaseError> {
    let (now, evidence) = events.pop().unwrap();
    let data = |state| matches!(state, PeerState::Connected | PeerState::ControlLost);
    let before = data(lease.state());
    let silence = now - *reached;
    match evidence {
        Evidence::Heartbeat => *beat = now,
        Evidence::Reached => {
            if silence > timing.probe * 2 + timing.tick {
                *steady = None;
            }
            *steady = steady.or(Some(now));
            *reached = now;
        }
        Evidence::Unreached => *steady = None,
        Evidence::Tick => {}
    }
    let effects = lease.on_event(now, evidence);
    let after = data(lease.state());
    let control = matches!(lease.state(), PeerState::Connected | PeerState::DataLost);
    prop_assert_eq!(control, now - *beat < timing.control, "control at {:?}", now);
    if after && evidence != Evidence::Reached {
        prop_assert!(silence < timing.data + timing.probe, "in after {:?} of silence", silence);
    }
    if before && !after {
        prop_assert!(silence >= timing.data + timing.probe, "out after {:?} of silence", silence);
    }
    if !before && after {
        let since = steady.map(|since| now - since);
        prop_assert!(since.is_some_and(|s| s >= timing.hold), "back after {:?}", since);
    }
    if before != after {
        prop_assert!(effects.contains(&Effect::State(lease.state())));
    }
    Ok(())
}
