//! Who may write when the holder of a Lease cannot renew it.

use std::time::Duration;

use isthmus_api_server::{Elector, Leadership, connect};
use isthmus_e2e::faults::Fault;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{SILENCE, api_server, proxy};

/// A Lease lives 15 seconds; this is plenty on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// An elector that runs, and what ends it.
fn run(elector: Elector) -> (Leadership, watch::Sender<bool>) {
    let leadership = elector.leadership();
    let (end, mut ended) = watch::channel(false);
    tokio::spawn(elector.run(async move {
        let _ = ended.wait_for(|ended| *ended).await;
    }));
    (leadership, end)
}

/// Waits until `next` holds, and sees to it that both never do.
async fn handed_over(last: &Leadership, next: &Leadership) {
    let started = Instant::now();
    while !next.holds() {
        assert!(started.elapsed() < PATIENCE, "nobody took the Lease");
        sleep(Duration::from_millis(1)).await;
    }
    assert!(!last.holds(), "two hold the Lease");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f5_a_holder_that_is_cut_off_stops_before_another_begins() {
    let server = api_server().await;
    let direct = connect(Some(&server.kubeconfig()), None).await.unwrap();
    let (proxy, by_proxy) = proxy(&server, SILENCE).await;
    let (mut first, _end) = run(Elector::new(by_proxy, "default", "writers", "first"));
    timeout(PATIENCE, first.gained()).await.unwrap();
    let (mut second, end) = run(Elector::new(direct, "default", "writers", "second"));
    proxy.does(Fault::Freeze);
    handed_over(&first, &second).await;
    proxy.does(Fault::None);
    // The one that is back does not take what another holds, until that one gives it back.
    let returned = timeout(Duration::from_secs(6), first.gained()).await;
    assert!(returned.is_err() && second.holds(), "it was taken from a holder that renews it");
    end.send_replace(true);
    timeout(PATIENCE, second.lost()).await.unwrap();
    handed_over(&second, &first).await;
}
