//! Bugs that are planted to see whether the checks find them: what a control plane that drives the state
//! machines could do wrong.

use std::sync::Arc;

use isthmus_world::fact::{ExportedService, PeerFact};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bug {
    /// A peer whose control link is cut loses its endpoints.
    DropOnControlLoss,
    /// After a restart exports are told before all of them are read.
    PublishBeforeSynced,
    /// What a stream says is in force before its commit.
    ApplyBeforeCommit,
    /// Answers to probes and reports of proxies are lost.
    DeafToEvidence,
    /// Identities are believed whatever trust domain they are of.
    BelieveForeignIdentities,
    /// Leases are timed by a wall clock, which somebody sets back.
    WallClock,
    /// Exports of peers win over the cluster's own.
    PeersWin,
    /// Who has left is trusted still.
    KeepTrustAfterLeave,
    /// A restart begins without what peers exported.
    ForgetOnRestart,
    /// After a pause the time that was missed is made up for, second by second.
    CatchUpAfterPause,
    /// What is in force is not yet on disk.
    SaveLate,
    /// Streams are resumed after what they told was forgotten.
    AlwaysResume,
}

impl Bug {
    pub(crate) const ALL: [Self; 12] = [
        Self::DropOnControlLoss,
        Self::PublishBeforeSynced,
        Self::ApplyBeforeCommit,
        Self::DeafToEvidence,
        Self::BelieveForeignIdentities,
        Self::WallClock,
        Self::PeersWin,
        Self::KeepTrustAfterLeave,
        Self::ForgetOnRestart,
        Self::CatchUpAfterPause,
        Self::SaveLate,
        Self::AlwaysResume,
    ];
}

/// An export as imports see it.
pub(crate) fn exported(bug: Option<Bug>, exported: &Arc<ExportedService>) -> Arc<ExportedService> {
    match bug {
        Some(Bug::PeersWin) => {
            Arc::new(ExportedService { created: 0, ..ExportedService::clone(exported) })
        }
        _ => Arc::clone(exported),
    }
}

/// The peer as imports see it.
pub(crate) fn peer(bug: Option<Bug>, fact: &PeerFact, exported: &ExportedService) -> PeerFact {
    let mut fact = fact.clone();
    if bug == Some(Bug::BelieveForeignIdentities) {
        let endpoints = exported.ports.iter().flat_map(|port| &port.endpoints);
        let foreign =
            endpoints.flat_map(|e| &e.identities).find(|id| *id.trust_domain() != fact.trust_domain);
        if let Some(identity) = foreign {
            fact.trust_domain = identity.trust_domain().clone();
        }
    }
    fact
}
