//! The choice of one endpoint from a view.
//!
//! Least request draws two members by weight and takes the one with fewer requests in flight for its
//! weight; when both are idle the first draw stands, so that weights hold exactly. Round robin walks the
//! weights in steps of the golden ratio, which spreads turns evenly without state for each endpoint.

use std::cell::Cell;

use isthmus_ir::Balancing;

use super::{ServiceState, View, view::Level};

/// Random numbers of one thread (xorshift64*), for balancing and nothing that must be secret.
pub(crate) struct Random(Cell<u64>);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Cell::new(seed | 1))
    }

    /// A number below `bound`; 0 when the bound is 0.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        let word = x.wrapping_mul(0x2545_f491_4f6c_dd1d);
        u64::try_from((u128::from(word) * u128::from(bound)) >> 64).unwrap_or(0)
    }
}

/// The endpoints that a request was already sent to.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tried {
    unique: [u64; 6],
    count: usize,
}

impl Tried {
    /// Remembers an endpoint by its unique number, which is never 0.
    pub(crate) fn push(&mut self, unique: u64) {
        if let Some(entry) = self.unique.get_mut(self.count % 6) {
            *entry = unique;
        }
        self.count += 1;
    }

    /// Whether it was tried.
    pub(crate) fn contains(&self, unique: u64) -> bool {
        self.unique.contains(&unique)
    }
}

/// What was chosen: the endpoint's index in its service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chosen(pub(crate) usize);

impl View {
    /// Chooses an endpoint that was not tried; none when there is none. `in_flight` tells the requests
    /// that this thread has at an endpoint, `turn` is the round robin's and moves on.
    pub(crate) fn pick(
        &self,
        service: &ServiceState,
        turn: &mut u64,
        random: &Random,
        tried: &Tried,
        in_flight: impl Fn(usize) -> u32,
    ) -> Option<Chosen> {
        let level = self.draw_level(random)?;
        *turn = turn.wrapping_add(1);
        let index = match service.spec.balancing {
            Balancing::RoundRobin => level.in_turn(*turn),
            Balancing::LeastRequest => level.least_of_two(service, random, in_flight),
        }?;
        if tried.count == 0 || !is_tried(service, tried, index) {
            return Some(Chosen(index));
        }
        self.untried(service, tried, random)
    }

    fn draw_level(&self, random: &Random) -> Option<&Level> {
        if let [only] = self.levels.as_slice() {
            return Some(only);
        }
        let whole: u32 = self.levels.iter().map(|l| l.share).sum();
        let mut at = random.below(u64::from(whole));
        self.levels.iter().find(|level| {
            let share = u64::from(level.share);
            let here = at < share;
            at = at.saturating_sub(share);
            here
        })
    }

    /// Any member that was not tried, from a random place on, by priority.
    fn untried(&self, service: &ServiceState, tried: &Tried, random: &Random) -> Option<Chosen> {
        self.levels.iter().find_map(|level| {
            let count = level.members.len();
            let from = usize::try_from(random.below(count as u64)).unwrap_or(0);
            (0..count)
                .filter_map(|i| level.member((from + i) % count.max(1)))
                .find(|index| !is_tried(service, tried, *index))
                .map(Chosen)
        })
    }
}

fn is_tried(service: &ServiceState, tried: &Tried, index: usize) -> bool {
    service.endpoints.get(index).is_some_and(|e| tried.contains(e.unique))
}

impl Level {
    fn member(&self, at: usize) -> Option<usize> {
        self.members.get(at).map(|index| *index as usize)
    }

    /// The member at `point` of the whole weight.
    fn at_weight(&self, point: u64) -> Option<usize> {
        self.member(self.cumulative.partition_point(|sum| *sum <= point))
    }

    fn whole_weight(&self) -> u64 {
        self.cumulative.last().copied().unwrap_or(self.members.len() as u64)
    }

    fn in_turn(&self, turn: u64) -> Option<usize> {
        if self.cumulative.is_empty() {
            let count = self.members.len().max(1) as u64;
            return self.member(usize::try_from(turn % count).unwrap_or(0));
        }
        let fraction = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let point = (u128::from(fraction) * u128::from(self.whole_weight())) >> 64;
        self.at_weight(u64::try_from(point).unwrap_or(0))
    }

    fn draw(&self, random: &Random) -> Option<usize> {
        let point = random.below(self.whole_weight());
        if self.cumulative.is_empty() {
            return self.member(usize::try_from(point).unwrap_or(0));
        }
        self.at_weight(point)
    }

    fn least_of_two(
        &self,
        service: &ServiceState,
        random: &Random,
        in_flight: impl Fn(usize) -> u32,
    ) -> Option<usize> {
        if let [only] = self.members.as_slice() {
            return Some(*only as usize);
        }
        let first = self.draw(random)?;
        let second = self.draw(random)?;
        if first == second {
            return Some(first);
        }
        let weight = |i: usize| service.endpoints.get(i).map_or(1, |e| u64::from(e.spec.weight.max(1)));
        // a/wa <= b/wb, without division.
        let (a, b) = (u64::from(in_flight(first)), u64::from(in_flight(second)));
        Some(if a * weight(second) <= b * weight(first) { first } else { second })
    }
}
