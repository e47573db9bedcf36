//! What goes wrong, and when it ends.

use crate::{
    net::{Health, Plane},
    sim::{CHAOS, Ev, Job, Sim},
};

impl Sim {
    /// One fault, and the next one in time.
    pub(crate) fn fault(&mut self) {
        if self.now + 1000 >= CHAOS {
            return;
        }
        let next = self.rng.range(1000, 9000);
        self.after(next, Ev::Fault);
        let one = self.rng.index(self.clusters.len());
        let other = (one + 1 + self.rng.index(self.clusters.len() - 1)) % self.clusters.len();
        match self.rng.range(0, 14) {
            0 | 1 => self.cut(Plane::Control, &[(one, other), (other, one)]),
            2 => self.cut(Plane::Control, &[(one, other)]),
            3 | 4 => self.cut(Plane::Data, &[(one, other), (other, one)]),
            5 => self.flap(one, other),
            6 => self.hurt(one, Health::Dead),
            7 => self.hurt(one, Health::Frozen),
            8 | 9 => self.pause(one),
            10 | 11 => self.restart(one),
            12 => self.net.slowest = [5, 50, 500, 3000][self.rng.index(4)],
            _ if self.rng.percent(8) => {
                self.after(0, Ev::Leave { cluster: one, peer: other, forced: false });
            }
            _ => self.break_all(one),
        }
    }

    /// A few seconds mostly, sometimes minutes.
    fn length(&mut self) -> u64 {
        let most = [3000, 20_000, 20_000, 150_000][self.rng.index(4)];
        self.rng.range(100, most).min(CHAOS - self.now)
    }

    fn cut(&mut self, plane: Plane, ways: &[(usize, usize)]) {
        let length = self.length();
        for (from, to) in ways {
            self.net.cut(self.now, plane, *from, *to);
            self.after(length, Ev::Mend(plane, *from, *to));
        }
    }

    /// Ten short cuts in a row.
    fn flap(&mut self, one: usize, other: usize) {
        let mut at = 0;
        for _ in 0..10 {
            let length = self.rng.range(200, 1500);
            self.after(at, Ev::Cut(Plane::Data, one, other));
            self.after(at + length, Ev::Mend(Plane::Data, one, other));
            at += length + self.rng.range(200, 3000);
        }
    }

    fn hurt(&mut self, cluster: usize, health: Health) {
        let length = self.length();
        let number = self.net.set_gateway(self.now, cluster, health);
        self.after(length, Ev::Revive(cluster, number));
    }

    fn pause(&mut self, cluster: usize) {
        let it = &mut self.clusters[cluster];
        if it.plane.is_some() && !it.paused {
            it.paused = true;
            let length = self.length();
            self.after(length, Ev::Resume(cluster));
        }
    }

    fn restart(&mut self, cluster: usize) {
        let it = &mut self.clusters[cluster];
        if it.plane.is_some() && !it.paused {
            it.plane = None;
            it.mailbox.clear();
            let length = self.length();
            self.break_all(cluster);
            self.after(length, Ev::Up(cluster));
        }
    }

    /// The users' edits.
    pub(crate) fn change(&mut self, cluster: usize) {
        if self.now >= CHAOS {
            return;
        }
        let next = self.rng.range(500, 15_000);
        self.after(next, Ev::Change(cluster));
        let wall = self.clusters[cluster].wall_clock(self.now);
        self.clusters[cluster].truth.change(&mut self.rng, wall);
        self.note_truth(cluster);
        self.soon(cluster, Job::Changed);
    }

    pub(crate) fn heal(&mut self) {
        self.net.heal(self.now);
    }
}
