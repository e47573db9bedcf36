//! Telling the control plane which peers answer, so that its view of a peer rests on traffic too, and not on
//! its own probes alone.

use std::{convert::Infallible, time::Duration};

use isthmus_xds::{client::Connect, evidence::observe};

use super::Line;
use crate::Proxy;

/// A third of the time that the control plane waits for evidence.
const INTERVAL: Duration = Duration::from_secs(5);

/// Tells what was seen, for ever. Says nothing when nothing went to any peer.
pub(super) async fn tell(proxy: &Proxy, line: &Line<impl Connect>) -> Infallible {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let observations = proxy.observations();
        if observations.is_empty() {
            continue;
        }
        if let Err(error) = observe(&line.connect, &line.proof, observations).await {
            tracing::debug!(%error, "what was seen of peers is not heard");
        }
    }
}
