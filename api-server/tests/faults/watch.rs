//! A watch by way of a proxy: whatever happened, in the end what was told is what there is.

use std::{collections::BTreeMap, time::Duration};

use isthmus_api_server::{Event, Resource, State, Watched, connect, follow};
use isthmus_e2e::{
    api_server::ApiServer,
    faults::{Fault, Proxy},
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use crate::{SILENCE, api_server, proxy};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// What was told so far.
#[derive(Default)]
struct View {
    objects: BTreeMap<String, String>,
    states: Vec<State>,
}

impl View {
    fn take(&mut self, event: Event) {
        match event {
            Event::Upsert(object) => {
                let value = object.data["data"]["n"].as_str().unwrap_or_default().to_owned();
                self.objects.insert(object.metadata.name.unwrap(), value);
            }
            Event::Delete { name, .. } => {
                assert!(self.objects.remove(&name).is_some(), "{name} was deleted and never told of");
            }
            Event::State(state) => self.states.push(state),
        }
    }
}

struct Bench {
    api: Api<ConfigMap>,
    proxy: Proxy,
    events: mpsc::Receiver<Event>,
    view: View,
    there: BTreeMap<String, String>,
    _server: ApiServer,
}

impl Bench {
    /// With a watch that gives a connection up that is silent for so long.
    async fn new(silence: Duration) -> Self {
        let server = api_server().await;
        let direct = connect(Some(&server.kubeconfig()), None).await.unwrap();
        let (proxy, client) = proxy(&server, silence).await;
        let resource = Resource {
            group: String::new(),
            versions: vec!["v1".to_owned()],
            kind: "ConfigMap".to_owned(),
        };
        let watched = Watched { namespace: Some("default".to_owned()), ..Watched::all(resource) };
        let (tell, events) = mpsc::channel(16);
        tokio::spawn(follow(client, watched, tell));
        let api = Api::namespaced(direct, "default");
        Self { api, proxy, events, view: View::default(), there: BTreeMap::new(), _server: server }
    }

    async fn put(&mut self, name: &str, n: &str) {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let data = Some([("n".to_owned(), n.to_owned())].into());
        let map = ConfigMap { metadata, data, ..ConfigMap::default() };
        let parameters = PatchParams::apply("test").force();
        self.api.patch(name, &parameters, &Patch::Apply(&map)).await.unwrap();
        self.there.insert(name.to_owned(), n.to_owned());
    }

    async fn delete(&mut self, name: &str) {
        self.api.delete(name, &DeleteParams::default()).await.unwrap();
        self.there.remove(name);
    }

    /// Waits until what was told is what there is.
    async fn agree(&mut self, when: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.view.objects != self.there {
            match tokio::time::timeout_at(deadline, self.events.recv()).await {
                Ok(event) => self.view.take(event.unwrap()),
                Err(elapsed) => {
                    panic!("{elapsed} {when}: told {:?}, there is {:?}", self.view.objects, self.there)
                }
            }
        }
    }

    /// Waits until the proxy was asked for something so often since the fault began.
    async fn asked(&self, times: usize) -> Vec<Instant> {
        let asked = async {
            while self.proxy.asked().len() < times {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, asked).await.expect("the API server is asked");
        self.proxy.asked()
    }

    /// Waits until the fault befell the watch.
    async fn met(&self) {
        let met = async {
            while self.proxy.met() == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, met).await.expect("the fault befalls the watch");
    }

    /// Takes what is told until a state is.
    async fn state(&mut self, wanted: impl Fn(&State) -> bool) {
        let wait = async {
            while !self.view.states.last().is_some_and(&wanted) {
                let event = self.events.recv().await.unwrap();
                self.view.take(event);
            }
        };
        timeout(PATIENCE, wait).await.expect("the state is told");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f2_f8_f24_a_watch_tells_what_there_is_whatever_happens_to_it() {
    let mut bench = Bench::new(SILENCE).await;
    bench.put("a", "1").await;
    bench.put("b", "1").await;
    bench.agree("at the start").await;
    bench.state(|state| *state == State::Synced).await;
    for (round, fault) in [
        Fault::Status(410),
        Fault::Status(500),
        Fault::Status(429),
        Fault::Status(503),
        Fault::Cut(100),
        Fault::Cut(700),
        Fault::Gone,
        Fault::Freeze,
        Fault::Refuse,
    ]
    .into_iter()
    .enumerate()
    {
        let n = format!("{round}");
        bench.proxy.does(fault);
        // Meanwhile one is changed, one is made, and one is made and deleted again.
        bench.put("a", &n).await;
        bench.put(&format!("made-{n}"), &n).await;
        bench.put("passing", &n).await;
        bench.delete("passing").await;
        if round > 0 {
            bench.delete(&format!("made-{}", round - 1)).await;
        }
        bench.met().await;
        bench.proxy.does(Fault::None);
        bench.agree(&format!("after {fault:?}")).await;
    }
    assert!(!bench.view.states.contains(&State::Absent));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f2_a_watch_that_is_silent_for_too_long_is_begun_anew() {
    let mut bench = Bench::new(Duration::from_secs(2)).await;
    bench.put("a", "1").await;
    bench.agree("at the start").await;
    bench.proxy.does(Fault::Freeze);
    bench.put("a", "2").await;
    // Nothing ends the connection but whoever waits for it, who asks again.
    bench.asked(1).await;
    bench.proxy.does(Fault::None);
    bench.agree("after the silence").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_nobody_asks_again_before_the_api_server_wants_to_be_asked() {
    let mut bench = Bench::new(SILENCE).await;
    bench.put("a", "1").await;
    bench.agree("at the start").await;
    bench.proxy.does(Fault::Status(429));
    // What breaks the watch that is open shows that it is to wait.
    bench.put("a", "2").await;
    let asked = bench.asked(4).await;
    // The proxy asks for patience of a second.
    let gaps: Vec<_> = asked.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(gaps.iter().all(|gap| *gap >= Duration::from_millis(990)), "{gaps:?}");
    bench.proxy.does(Fault::None);
    bench.agree("after that").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_a_permission_that_is_lost_freezes_and_comes_back() {
    let mut bench = Bench::new(SILENCE).await;
    bench.put("a", "1").await;
    bench.agree("at the start").await;
    bench.proxy.does(Fault::Status(403));
    bench.put("a", "2").await;
    // What breaks the watch that is open shows that it is refused.
    bench
        .state(|state| matches!(state, State::Forbidden(why) if why.contains("as the test wants")))
        .await;
    assert_eq!(bench.view.objects["a"], "1", "what was told stands");
    bench.proxy.does(Fault::None);
    bench.agree("after the permission is back").await;
    bench.state(|state| *state == State::Synced).await;
}
