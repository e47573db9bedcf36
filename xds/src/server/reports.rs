//! Which proxies are connected, and what they last said. Only the latest of each is kept, so that a reader
//! that is slow costs no memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use isthmus_ir::Name;
use tokio::sync::{Notify, oneshot};

use super::{Proxy, ProxyEvent, ProxyReport};

/// The proxies of a control plane.
#[derive(Debug, Default)]
pub(super) struct Registry {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The one stream of each proxy that counts. Dropping the sender ends it.
    live: BTreeMap<Name, Live>,
    news: BTreeMap<Proxy, Option<ProxyReport>>,
    streams: u64,
}

#[derive(Debug)]
struct Live {
    stream: u64,
    _end: oneshot::Sender<()>,
}

/// News of proxies, the latest of each.
#[derive(Debug)]
pub struct Reports {
    registry: Arc<Registry>,
}

impl Reports {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    /// The next news. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> ProxyEvent {
        loop {
            let news = self.registry.lock().news.pop_first();
            if let Some((proxy, report)) = news {
                return ProxyEvent { proxy, report };
            }
            self.registry.news.notified().await;
        }
    }
}

/// A stream of a proxy, from beginning to end.
#[derive(Debug)]
pub(super) struct Registration {
    registry: Arc<Registry>,
    proxy: Proxy,
    stream: u64,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes down that `proxy` is connected. The receiver ends when it comes again on another stream.
    pub(super) fn register(self: &Arc<Self>, proxy: Proxy) -> (Registration, oneshot::Receiver<()>) {
        let (end, ended) = oneshot::channel();
        let mut state = self.lock();
        state.streams += 1;
        let stream = state.streams;
        state.live.insert(proxy.id.clone(), Live { stream, _end: end });
        state.news.insert(proxy.clone(), Some(ProxyReport::default()));
        drop(state);
        self.news.notify_one();
        (Registration { registry: self.clone(), proxy, stream }, ended)
    }
}

impl Registration {
    pub(super) fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Takes down what the proxy says, if this is still its stream.
    pub(super) fn report(&self, report: ProxyReport) {
        let mut state = self.registry.lock();
        if state.live.get(&self.proxy.id).is_some_and(|live| live.stream == self.stream) {
            state.news.insert(self.proxy.clone(), Some(report));
            drop(state);
            self.registry.news.notify_one();
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        if state.live.get(&self.proxy.id).is_some_and(|live| live.stream == self.stream) {
            state.live.remove(&self.proxy.id);
            state.news.insert(self.proxy.clone(), None);
            drop(state);
            self.registry.news.notify_one();
        }
    }
}
