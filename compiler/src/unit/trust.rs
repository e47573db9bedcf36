//! Settings, roots and peers -> whom proxies believe, and how imports see peers.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use isthmus_east_west::trust::{Trust, trust, usable};
use isthmus_ir::{TrustBundle, TrustDomain};
use isthmus_world::{
    World,
    engine::Unit,
    fact::{MeshSettings, PeerFact, PeerState},
    same_fields,
};

use super::keep::{keep, keep_all};

/// One for all peers.
#[derive(Debug)]
pub(crate) struct Trusts;

#[derive(Debug)]
pub(crate) struct TrustInputs {
    settings: Arc<MeshSettings>,
    roots: Arc<Vec<Bytes>>,
    peers: Vec<Arc<PeerFact>>,
}

same_fields!(TrustInputs { settings, roots, peers });

/// What follows from peers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TrustOutput {
    /// Peers and their bundles.
    pub(crate) trust: Trust,
    /// The bundle of the own trust domain, once its roots are known.
    pub(crate) own: Option<Arc<TrustBundle>>,
    /// Whom handles let in.
    pub(crate) callers: Arc<Vec<TrustDomain>>,
    /// The peers that are believed, as imports see them: without what imports do not read, so that a
    /// new gateway address or a lost control link does not wake all that the peer exports.
    pub(crate) views: BTreeMap<Arc<str>, Arc<PeerFact>>,
}

impl Unit for Trusts {
    type Key = ();
    type Inputs = TrustInputs;
    type Output = TrustOutput;
    type Context<'a> = &'a World;

    fn gather(world: &&World, (): &()) -> Option<TrustInputs> {
        Some(TrustInputs {
            settings: Arc::clone(world.settings()),
            roots: Arc::clone(world.roots()),
            peers: world.peers().cloned().collect(),
        })
    }

    fn translate((): &(), inputs: &TrustInputs) -> TrustOutput {
        let trust = trust(&inputs.settings, inputs.peers.iter().map(AsRef::as_ref));
        let believed =
            |peer: &&Arc<PeerFact>| trust.peers.iter().any(|p| p.name.as_str() == &*peer.cluster);
        let views = inputs.peers.iter().filter(believed).map(|p| (Arc::clone(&p.cluster), view(p)));
        let trust_domain = inputs.settings.trust_domain.clone();
        let own = TrustBundle { trust_domain, roots: inputs.roots.to_vec() };
        TrustOutput {
            views: views.collect(),
            callers: Arc::new(trust.callers.clone()),
            own: (!own.roots.is_empty()).then(|| Arc::new(own)),
            trust,
        }
    }

    fn settle(old: &TrustOutput, mut new: TrustOutput) -> TrustOutput {
        new.trust.peers = keep_all(&old.trust.peers, new.trust.peers, |peer| &peer.name);
        new.trust.bundles = keep_all(&old.trust.bundles, new.trust.bundles, |b| &b.trust_domain);
        new.callers = keep(&old.callers, new.callers);
        for (cluster, view) in &mut new.views {
            if let Some(old) = old.views.get(cluster) {
                *view = keep(old, Arc::clone(view));
            }
        }
        new
    }
}

fn view(peer: &PeerFact) -> Arc<PeerFact> {
    let state = if usable(peer.state) { PeerState::Connected } else { PeerState::DataLost };
    Arc::new(PeerFact { state, gateways: Vec::new(), roots: Vec::new(), ..peer.clone() })
}
