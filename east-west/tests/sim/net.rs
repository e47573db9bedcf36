//! What lies between clusters: links that are cut and slow, gateways that die and freeze.

use crate::rng::Rng;

/// How a cluster's east-west gateway is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Health {
    Alive,
    /// It resets connections.
    Dead,
    /// It accepts connections and says nothing.
    Frozen,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plane {
    /// The streams between control planes alone.
    Control,
    /// Everything else.
    Data,
}

pub(crate) struct Net {
    /// Faults that cut (plane, from, to) at the moment.
    cuts: Vec<(Plane, usize, usize)>,
    gateways: Vec<(Health, u32)>,
    /// Milliseconds that a message takes at most.
    pub(crate) slowest: u64,
    /// For each (from, to): when the data path was down, the last one maybe still.
    downs: Vec<Vec<(u64, Option<u64>)>>,
    clusters: usize,
}

impl Net {
    pub(crate) fn new(clusters: usize) -> Self {
        let downs = vec![Vec::new(); clusters * clusters];
        let gateways = vec![(Health::Alive, 0); clusters];
        Self { cuts: Vec::new(), gateways, slowest: 20, downs, clusters }
    }

    pub(crate) fn cut(&mut self, now: u64, plane: Plane, from: usize, to: usize) {
        self.cuts.push((plane, from, to));
        self.note(now);
    }

    pub(crate) fn mend(&mut self, now: u64, plane: Plane, from: usize, to: usize) {
        let found = self.cuts.iter().position(|cut| *cut == (plane, from, to));
        found.map(|index| self.cuts.swap_remove(index));
        self.note(now);
    }

    /// Puts a gateway into another state; answers the number of this change.
    pub(crate) fn set_gateway(&mut self, now: u64, cluster: usize, health: Health) -> u32 {
        let (old, number) = self.gateways[cluster];
        self.gateways[cluster] = (health, number + 1);
        if old != health {
            self.note(now);
        }
        number + 1
    }

    /// Revives a gateway if nothing has happened to it since change `number`.
    pub(crate) fn revive(&mut self, now: u64, cluster: usize, number: u32) {
        if self.gateways[cluster].1 == number {
            self.set_gateway(now, cluster, Health::Alive);
        }
    }

    pub(crate) fn gateway(&self, cluster: usize) -> Health {
        self.gateways[cluster].0
    }

    pub(crate) fn heal(&mut self, now: u64) {
        self.cuts.clear();
        self.slowest = 20;
        for cluster in 0..self.clusters {
            self.set_gateway(now, cluster, Health::Alive);
        }
        self.note(now);
    }

    /// Whether messages between two control planes pass, of which `acceptor` is dialled through its gateway.
    pub(crate) fn control(&self, from: usize, to: usize, acceptor: usize) -> bool {
        let cut = self.cuts.iter().any(|(_, a, b)| (*a, *b) == (from, to));
        !cut && self.gateways[acceptor].0 == Health::Alive
    }

    /// Whether proxies get through.
    pub(crate) fn data(&self, from: usize, to: usize) -> bool {
        !self.link_is_cut(from, to) && self.gateways[to].0 == Health::Alive
    }

    fn link_is_cut(&self, from: usize, to: usize) -> bool {
        let ends = [(from, to), (to, from)];
        self.cuts.iter().any(|(plane, a, b)| *plane == Plane::Data && ends.contains(&(*a, *b)))
    }

    pub(crate) fn delay(&self, rng: &mut Rng) -> u64 {
        rng.range(1, self.slowest.max(2))
    }

    /// How long the data path was down since `since`.
    pub(crate) fn downtime(&self, from: usize, to: usize, since: u64, now: u64) -> u64 {
        let downs = self.downs[from * self.clusters + to].iter();
        downs.map(|(begin, end)| end.unwrap_or(now).saturating_sub((*begin).max(since))).sum()
    }

    fn note(&mut self, now: u64) {
        for from in 0..self.clusters {
            for to in 0..self.clusters {
                let up = self.data(from, to);
                let downs = &mut self.downs[from * self.clusters + to];
                let open = downs.last_mut().filter(|(_, end)| end.is_none());
                match (up, open) {
                    (true, Some((_, end))) => *end = Some(now),
                    (false, None) => downs.push((now, None)),
                    _ => {}
                }
            }
        }
    }
}
