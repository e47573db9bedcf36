//! How the clusters of a run become peers: with production's tokens and handshake, over a network that
//! loses answers, beside others who try the same token.

use isthmus_east_west::{
    invite::{
        Accepted, Channel, Invitation, JoinError, JoinRefusal, JoinRequest, JoinResponse, Joining,
        Member, Token, accept,
    },
    peer::Peer,
};
use isthmus_ir::SpiffeId;

use crate::{
    check::Oracle,
    cluster::{Member as Known, timing},
    sim::{Ev, Job, Sim},
    truth::domain,
};

pub(crate) struct Join {
    inviter: usize,
    joiner: usize,
    token: String,
}

impl Sim {
    /// Every two clusters are to be peers.
    pub(crate) fn plan_joins(&mut self) {
        for low in 0..self.clusters.len() {
            for high in low + 1..self.clusters.len() {
                let (inviter, joiner) = if self.rng.percent(50) { (low, high) } else { (high, low) };
                let token = self.invite(inviter);
                self.joins.push(Join { inviter, joiner, token });
                let delay = self.rng.range(500, 3000);
                self.after(delay, Ev::Join(self.joins.len() - 1));
            }
        }
    }

    fn invite(&mut self, inviter: usize) -> String {
        let nonce = self.rng.bytes();
        let it = &mut self.clusters[inviter];
        let identity = it.identity();
        let invitation = Invitation::new(nonce, u64::try_from(it.wall_clock(self.now)).unwrap());
        let token = Token {
            cluster: identity.cluster,
            trust_domain: identity.trust_domain,
            addresses: identity.gateways,
            pin: [7; 32],
            nonce: invitation.nonce.clone(),
            expires: invitation.expires,
        };
        it.disk.invitations.insert(invitation.id.clone(), invitation);
        token.encode()
    }

    /// The joiner's operator tries, until it has worked.
    pub(crate) fn join(&mut self, index: usize) {
        let (inviter, joiner) = (self.joins[index].inviter, self.joins[index].joiner);
        let left = self.clusters[joiner].left.contains(&inviter);
        if left || self.clusters[joiner].member(inviter).is_some() {
            return;
        }
        let again = self.rng.range(2000, 4000);
        self.after(again, Ev::Join(index));
        let it = &self.clusters[joiner];
        if it.plane.is_none() || it.paused {
            return;
        }
        let exporter = self.rng.bytes();
        let channel = Channel { exporter, inviter: [1; 32], joiner: [2; 32] };
        match self.joining(index) {
            Ok(joining) => {
                let delay = self.net.delay(&mut self.rng);
                self.after(delay, Ev::JoinRequest(index, channel, joining.request(&channel)));
            }
            Err(error) => self.fail(format!("join of {joiner} to {inviter}: {error}")),
        }
    }

    fn joining(&self, index: usize) -> Result<Joining, JoinError> {
        let Join { joiner, token, .. } = &self.joins[index];
        let it = &self.clusters[*joiner];
        let known = it.plane.iter().flat_map(|plane| plane.members.values()).map(|member| &member.fact);
        Joining::new(token.parse().unwrap(), it.identity(), known)
    }

    pub(crate) fn join_request(&mut self, index: usize, channel: &Channel, request: &JoinRequest) {
        let (inviter, joiner) = (self.joins[index].inviter, self.joins[index].joiner);
        let it = &self.clusters[inviter];
        let passes = self.net.control(joiner, inviter, inviter) && it.plane.is_some() && !it.paused;
        if !passes || it.left.contains(&joiner) {
            return;
        }
        match self.accept(inviter, request, channel) {
            Ok(accepted) => self.let_in(index, channel, accepted),
            Err(error) => self.fail(format!("cluster {inviter} refuses {joiner}: {error}")),
        }
        self.try_to_steal(index, channel, request);
    }

    fn accept(
        &self,
        inviter: usize,
        request: &JoinRequest,
        channel: &Channel,
    ) -> Result<Accepted, JoinRefusal> {
        let it = &self.clusters[inviter];
        let known = it.plane.iter().flat_map(|plane| plane.members.values()).map(|member| &member.fact);
        let shown =
            SpiffeId::new(&request.member.trust_domain, "/ns/isthmus-system/sa/control-plane").unwrap();
        let invitation = it.disk.invitations.get(&request.invitation);
        let now = u64::try_from(it.wall_clock(self.now)).unwrap();
        accept(&it.identity(), known, invitation, request, channel, &shown, now)
    }

    fn let_in(&mut self, index: usize, channel: &Channel, accepted: Accepted) {
        let (inviter, joiner) = (self.joins[index].inviter, self.joins[index].joiner);
        let it = &mut self.clusters[inviter];
        it.disk.invitations.insert(accepted.invitation.id.clone(), accepted.invitation);
        if it.member(joiner).is_none() {
            self.admit(inviter, joiner, &accepted.peer, false);
        }
        if self.rng.percent(15) {
            self.check.seen.insert("an answer to a join that is lost");
        } else {
            let delay = self.net.delay(&mut self.rng);
            self.after(delay, Ev::JoinResponse(index, *channel, accepted.response));
        }
    }

    pub(crate) fn join_response(&mut self, index: usize, channel: &Channel, answer: JoinResponse) {
        let (inviter, joiner) = (self.joins[index].inviter, self.joins[index].joiner);
        let it = &mut self.clusters[joiner];
        if it.plane.is_none() || it.paused || it.member(inviter).is_some() {
            return;
        }
        match self.joining(index).and_then(|joining| joining.finish(channel, answer)) {
            Ok(member) => {
                self.admit(joiner, inviter, &member, true);
                self.soon(joiner, Job::Dial(inviter));
            }
            Err(error) => self.fail(format!("join of {joiner} to {inviter}: {error}")),
        }
    }

    fn admit(&mut self, cluster: usize, peer: usize, member: &Member, dialer: bool) {
        let it = &mut self.clusters[cluster];
        let clock = it.clock(self.now);
        let begin = if dialer { Peer::joined } else { Peer::invited };
        let known = Known::new(begin(member.to_fact(), timing(), clock), dialer, Oracle::new(clock));
        it.disk.members.insert(peer, (known.peer.save(), dialer));
        it.plane.as_mut().unwrap().members.insert(peer, known);
        self.soon(cluster, Job::Changed);
    }

    /// Others try the used token, and the request on a connection of theirs.
    fn try_to_steal(&mut self, index: usize, channel: &Channel, request: &JoinRequest) {
        let inviter = self.joins[index].inviter;
        let elsewhere = Channel { exporter: self.rng.bytes(), ..*channel };
        let replayed = self.accept(inviter, request, &elsewhere);
        if replayed != Err(JoinRefusal::Forged) {
            self.fail(format!("a replayed request is answered with {replayed:?}"));
        }
        let thief = Member {
            cluster: "thief".into(),
            trust_domain: "thief.example".parse().unwrap(),
            ..self.clusters[inviter].identity()
        };
        let token: Token = self.joins[index].token.parse().unwrap();
        let stolen = Joining::new(token, thief, []).unwrap().request(channel);
        let answer = self.accept(inviter, &stolen, channel);
        if !matches!(answer, Err(JoinRefusal::Used(_))) {
            self.fail(format!("a used token is answered with {answer:?}"));
        }
        let known = self.clusters[inviter].told.as_ref().map_or(&[][..], |told| &told.trust.callers);
        if known.iter().any(|d| (0..self.clusters.len()).all(|c| *d != domain(c))) {
            self.fail("a stranger may call".into());
        }
    }
}
