//! Watches on an API server in memory that fails in one way for as long as a test wants.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{Event, LISTED, Resource, State, Watched, follow};
use crate::fake::{self, Answer, Asked};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// What a client wants of the one kind that there is.
enum Request {
    /// Which kinds there are.
    Kinds,
    /// Objects.
    List,
    /// The objects and then changes.
    StreamingList,
    /// Changes only.
    Changes,
}

fn request(asked: &Asked) -> Request {
    if asked.path == "/api/v1" {
        return Request::Kinds;
    }
    assert_eq!(asked.path, "/api/v1/namespaces/default/configmaps");
    match (asked.query.contains("watch=true"), asked.query.contains("sendInitialEvents=true")) {
        (false, _) => Request::List,
        (true, true) => Request::StreamingList,
        (true, false) => Request::Changes,
    }
}

fn kinds() -> Answer {
    let kind = json!({"name": "configmaps", "singularName": "", "namespaced": true, "kind": "ConfigMap",
        "verbs": ["list", "watch"]});
    let kinds = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1",
        "resources": [kind]});
    fake::whole(200, &kinds)
}

fn object(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", "resourceVersion": "7"}})
}

fn list(names: &[&str]) -> Answer {
    let items: Vec<_> = names.iter().map(|name| object(name)).collect();
    let list = json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"},
        "items": items});
    fake::whole(200, &list)
}

fn added(name: &str) -> Value {
    json!({"type": "ADDED", "object": object(name)})
}

fn listed() -> Value {
    let metadata = json!({"resourceVersion": "7", "annotations": {LISTED: "true"}});
    json!({"type": "BOOKMARK", "object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}})
}

/// The one kind.
fn watched() -> Watched {
    let resource =
        Resource { group: String::new(), versions: vec!["v1".to_owned()], kind: "ConfigMap".to_owned() };
    Watched { namespace: Some("default".to_owned()), ..Watched::all(resource) }
}

/// Follows the one kind on a server that answers so; what is told.
fn told(answer: impl Fn(Request) -> Answer + Send + Sync + 'static) -> mpsc::Receiver<Event> {
    let client = fake::client(move |asked| Ok(answer(request(&asked))));
    let (events, told) = mpsc::channel(64);
    tokio::spawn(follow(client, watched(), events));
    told
}

/// Everything that is told within a minute, in short.
async fn within_a_minute(mut told: mpsc::Receiver<Event>) -> Vec<String> {
    let mut all = Vec::new();
    let telling = async {
        while let Some(event) = told.recv().await {
            all.push(match event {
                Event::Upsert(object) => format!("+{}", object.metadata.name.unwrap()),
                Event::Delete { name, .. } => format!("-{name}"),
                Event::State(state) => format!("{state:?}"),
            });
        }
    };
    let _ = timeout(MINUTE, telling).await;
    all
}

/// One more, and how many there were before.
fn count(counter: &Arc<AtomicUsize>) -> usize {
    counter.fetch_add(1, Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn f8_what_was_told_by_a_list_that_was_cut_and_is_gone_since_is_told_to_be_gone() {
    let lists = Arc::new(AtomicUsize::new(0));
    let told = told(move |request| match request {
        Request::Kinds => kinds(),
        Request::List => list(&[]),
        Request::StreamingList if count(&lists) == 0 => fake::watch(&[added("revoked")], Duration::ZERO),
        Request::StreamingList => fake::watch(&[added("stays"), listed()], HOUR),
        Request::Changes => fake::refused(500),
    });
    assert_eq!(within_a_minute(told).await, ["+revoked", "+stays", "-revoked", "Synced"]);
}

#[tokio::test(start_paused = true)]
async fn f8_a_list_in_pages_tells_the_same_where_there_are_no_streaming_lists() {
    let lists = Arc::new(AtomicUsize::new(0));
    let watches = Arc::new(AtomicUsize::new(0));
    let told = told(move |request| match request {
        Request::Kinds => kinds(),
        // Each list is preceded by a look whether one is permitted.
        Request::List if count(&lists) < 2 => list(&["revoked"]),
        Request::List => list(&["stays"]),
        Request::StreamingList => fake::refused(422),
        Request::Changes if count(&watches) == 0 => fake::refused(410),
        Request::Changes => fake::watch(&[added("late")], HOUR),
    });
    assert_eq!(within_a_minute(told).await, ["+revoked", "Synced", "+stays", "-revoked", "+late"]);
}

#[tokio::test(start_paused = true)]
async fn f1_what_is_no_object_stops_no_watch() {
    let told = told(move |request| match request {
        Request::Kinds => kinds(),
        Request::List => list(&[]),
        Request::StreamingList => {
            let broken = json!({"type": "ADDED", "object": {"metadata": {"labels": 5}}});
            let unknown = json!({"type": "NEW", "object": {}});
            let events = [json!(7), broken.clone(), added("a"), listed(), unknown, broken, added("b")];
            fake::watch(&events, HOUR)
        }
        Request::Changes => fake::refused(500),
    });
    assert_eq!(within_a_minute(told).await, ["+a", "Synced", "+b"]);
}

#[tokio::test(start_paused = true)]
async fn f18_a_kind_that_may_be_listed_and_not_watched_is_said_to_be_forbidden_and_makes_no_loop() {
    for (code, streaming) in [(401, true), (403, true), (403, false)] {
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let told = told(move |request| {
            count(&counter);
            match request {
                Request::Kinds => kinds(),
                Request::List => list(&[]),
                Request::StreamingList if !streaming => fake::refused(422),
                Request::StreamingList | Request::Changes => fake::refused(code),
            }
        });
        let forbidden = format!("{:?}", State::Forbidden(format!("refused with {code}")));
        let listed = (!streaming).then(|| "Synced".to_owned());
        let said: Vec<_> = listed.into_iter().chain([forbidden]).collect();
        assert_eq!(within_a_minute(told).await, said);
        assert!(requests.load(Ordering::Relaxed) < 60, "{requests:?} requests in a minute");
    }
}

#[tokio::test(start_paused = true)]
async fn f8_a_watch_that_never_lasts_makes_no_loop() {
    let ends: [fn() -> Answer; 5] = [
        || fake::watch(&[], Duration::ZERO),
        || fake::watch(&[listed()], Duration::ZERO),
        || fake::refused(410),
        || fake::refused(404),
        || fake::refused(500),
    ];
    for end in ends {
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let told = told(move |request| {
            count(&counter);
            match request {
                Request::Kinds => kinds(),
                Request::List => list(&[]),
                Request::StreamingList | Request::Changes => end(),
            }
        });
        within_a_minute(told).await;
        let requests = requests.load(Ordering::Relaxed);
        assert!((6..40).contains(&requests), "{requests} requests in a minute");
    }
}

#[tokio::test(start_paused = true)]
async fn f2_a_watch_that_a_server_ends_in_time_goes_on_at_once() {
    let watches = Arc::new(AtomicUsize::new(0));
    let (begin, mut times) = mpsc::unbounded_channel();
    let told = told(move |request| match request {
        Request::Kinds => kinds(),
        Request::List => list(&[]),
        Request::StreamingList => fake::watch(&[listed()], MINUTE / 4),
        Request::Changes => {
            begin.send(tokio::time::Instant::now()).unwrap();
            fake::watch(&[added(&format!("n{}", count(&watches)))], MINUTE / 4)
        }
    });
    let started = tokio::time::Instant::now();
    assert_eq!(within_a_minute(told).await, ["Synced", "+n0", "+n1", "+n2"]);
    for turn in 1..=3 {
        let due = started + MINUTE / 4 * turn;
        let lag = times.recv().await.unwrap().duration_since(due);
        assert!(lag < Duration::from_millis(50), "{lag:?} without a watch");
    }
}

#[tokio::test(start_paused = true)]
async fn f12_a_kind_is_missing_once_two_answers_say_so() {
    let looks = Arc::new(AtomicUsize::new(0));
    let missing_first = move |missing: usize| {
        let looks = Arc::clone(&looks);
        looks.store(0, Ordering::Relaxed);
        told(move |request| match request {
            Request::Kinds if count(&looks) < missing => fake::refused(404),
            Request::Kinds => kinds(),
            Request::List => list(&[]),
            Request::StreamingList | Request::Changes => fake::watch(&[added("a"), listed()], HOUR),
        })
    };
    assert_eq!(within_a_minute(missing_first(1)).await, ["+a", "Synced"]);
    assert_eq!(within_a_minute(missing_first(2)).await, ["Absent", "+a", "Synced"]);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_listens_to_is_not_watched() {
    for answer in [|| fake::refused(404), || fake::refused(500), kinds] {
        let client = fake::client(move |asked| {
            Ok(match request(&asked) {
                Request::Kinds => answer(),
                Request::List => list(&[]),
                Request::StreamingList | Request::Changes => fake::watch(&[added("a"), listed()], HOUR),
            })
        });
        let (events, told) = mpsc::channel(64);
        let following = tokio::spawn(follow(client, watched(), events));
        sleep(MINUTE).await;
        drop(told);
        timeout(Duration::from_millis(1), following).await.unwrap().unwrap();
    }
}
