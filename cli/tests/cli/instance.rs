//! Commands that ask an instance, on one that answers from a table.

use std::{path::PathBuf, sync::Arc};

use crate::common::{Ran, isthmus, ran};
use async_trait::async_trait;
use expect_test::{Expect, expect};
use isthmus_control_plane::socket::{
    Api, ApiError, Invited, Joined, ObjectQuery, PeerInfo, ProxyInfo, Question, Server,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{process::Command, task::JoinHandle};

struct Fake;

fn objects() -> Vec<Value> {
    let object = |kind: &str, namespace: &str, name: &str| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": kind,
            "metadata": {"namespace": namespace, "name": name, "creationTimestamp": "1990-01-01T00:00:00Z"},
            "spec": {"gatewayClassName": "isthmus", "hostnames": [format!("{name}.example")]},
        })
    };
    vec![
        object("Gateway", "default", "edge"),
        object("Gateway", "shop", "inner"),
        object("HTTPRoute", "default", "echo"),
    ]
}

#[async_trait]
impl Api for Fake {
    async fn objects(&self, query: &ObjectQuery) -> Result<Vec<Value>, ApiError> {
        let text = |object: &Value, field: &str| object["metadata"][field].as_str().unwrap().to_owned();
        let of_kind = objects().into_iter().filter(|object| object["kind"] == query.kind.as_str());
        Ok(of_kind.filter(|o| query.selects(&text(o, "namespace"), &text(o, "name"))).collect())
    }

    async fn proxies(&self) -> Result<Vec<ProxyInfo>, ApiError> {
        let proxy = |name: &str, role: &str, pid| ProxyInfo {
            name: name.to_owned(),
            role: role.to_owned(),
            scope: format!("scope-of-{name}"),
            pid,
            admin: PathBuf::from(format!("/state/p/{name}/admin.sock")),
            ready: pid.is_some(),
            revision: pid.map(|_| 7),
            restarts: 0,
        };
        Ok(vec![proxy("edge", "ingress", Some(12)), proxy("east-west", "east-west", None)])
    }

    async fn explain(&self, question: &Question) -> Result<Value, ApiError> {
        assert_eq!(question.headers, [("Host".to_owned(), "echo.example".to_owned())]);
        // In the shape of a proxy's `/explain`.
        let step = json!({"rule": "HTTPRoute/default/echo/0", "matchIndex": 0, "hostname": "*",
            "conditions": "path / (prefix)", "fate": {"is": "won"}});
        let explanation = json!({
            "request": {"method": "GET", "host": "echo.example", "path": "/"},
            "listeners": [{"gateway": "default/edge", "section": "http", "hostname": "*", "fate": "chosen"}],
            "matches": [step],
            "omitted": 0,
            "outcome": {"is": "route", "listener": "default/edge/http", "rule": "HTTPRoute/default/echo/0",
                "matchIndex": 0, "prefix": "/"},
        });
        let endpoint = |id: &str, cluster: &str, priority: u8, up: bool| {
            json!({"id": id, "cluster": cluster, "zone": null, "priority": priority, "weight": 1,
                "state": "Ready", "up": up})
        };
        let backend = json!({"weight": 1, "service": "clusterset/default/echo/80", "endpoints": [
            endpoint("west/abc", "west", 1, true), endpoint("127.0.0.1:1", "east", 0, false)]});
        let answer = json!({"socket": {"address": "127.0.0.1", "port": 80}, "explanation": explanation,
            "filters": [], "backends": [backend]});
        Ok(json!([{"proxy": "edge", "answers": [answer]}]))
    }

    async fn peers(&self) -> Result<Vec<PeerInfo>, ApiError> {
        let peer = |name: &str, state: &str, services, message: Option<&str>| PeerInfo {
            name: name.to_owned(),
            state: state.to_owned(),
            trust_domain: format!("{name}.example"),
            gateways: vec!["192.0.2.1:15443".parse().unwrap()],
            services,
            stream: message.is_none(),
            message: message.map(str::to_owned),
        };
        Ok(vec![
            peer("north", "Lost", None, Some("cannot connect")),
            peer("west", "Connected", Some(3), None),
        ])
    }

    async fn invite(&self) -> Result<Invited, ApiError> {
        Ok(Invited { token: "isthmus-join.x".to_owned(), seconds: 900 })
    }

    async fn join(&self, token: &str) -> Result<Joined, ApiError> {
        match token {
            "good" => Ok(Joined { peer: "west".to_owned(), trust_domain: "west.example".to_owned() }),
            _ => Err(ApiError::Refused("the token has been used already".to_owned())),
        }
    }

    async fn leave(&self, name: &str, force: bool) -> Result<(), ApiError> {
        match (name, force) {
            ("west", _) | (_, true) => Ok(()),
            ("broken", _) => Err(ApiError::Internal("cannot write to the state directory".to_owned())),
            _ => Err(ApiError::NotFound(format!("there is no peer {name}"))),
        }
    }
}

/// An instance on a state directory.
struct Instance {
    state_dir: TempDir,
    serving: JoinHandle<()>,
}

impl Instance {
    fn start() -> Self {
        let state_dir = tempfile::tempdir().unwrap();
        let server = Server::bind(&state_dir.path().join("control.sock")).unwrap();
        let serving = tokio::spawn(async move { server.serve(Arc::new(Fake)).await });
        Self { state_dir, serving }
    }

    async fn run(&self, args: &[&str]) -> Ran {
        let mut command = Command::from(isthmus(args));
        ran(command.env("ISTHMUS_STATE_DIR", self.state_dir.path()).output().await.unwrap())
    }

    async fn says(&self, args: &[&str], expected: &Expect) {
        let ran = self.run(args).await;
        assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{args:?}");
        expected.assert_eq(&ageless(&ran.out));
    }

    async fn fails(&self, args: &[&str], code: i32, err: &str) {
        let ran = self.run(args).await;
        assert_eq!((ran.code, &*ran.out, &*ran.err), (Some(code), "", err), "{args:?}");
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Objects of 1990 are some years old, whenever this runs: replaces an age at the end of a line, such as `36y12d`, by `OLD`.
fn ageless(text: &str) -> String {
    let line = |line: &str| match line.rsplit_once("   ") {
        Some((rest, age)) if age.contains('y') && age.ends_with('d') => format!("{rest}   OLD\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[tokio::test]
async fn get_shows_tables() {
    let instance = Instance::start();
    instance
        .says(
            &["get", "gateways"],
            &expect![[r#"
        NAME   CLASS     ADDRESS   PROGRAMMED   AGE
        edge   isthmus             Unknown      OLD
    "#]],
        )
        .await;
    instance
        .says(
            &["get", "gtw,httproutes", "-A"],
            &expect![[r#"
        NAMESPACE   NAME            CLASS     ADDRESS   PROGRAMMED   AGE
        default     gateway/edge    isthmus             Unknown      OLD
        shop        gateway/inner   isthmus             Unknown      OLD

        NAMESPACE   NAME             HOSTNAMES          ACCEPTED   PROGRAMMED   AGE
        default     httproute/echo   ["echo.example"]   Unknown    Unknown      OLD
    "#]],
        )
        .await;
    instance
        .says(
            &["get", "HTTPRoute", "echo", "-o", "wide"],
            &expect![[r#"
        NAME   HOSTNAMES          ACCEPTED   PROGRAMMED   RESOLVED   PARENTS   AGE
        echo   ["echo.example"]   Unknown    Unknown      Unknown              OLD
    "#]],
        )
        .await;
    instance
        .says(
            &["get", "proxies"],
            &expect![[r#"
        NAME        ROLE        PID      READY   RESTARTS   ADMIN
        edge        ingress     12       true    0          /state/p/edge/admin.sock
        east-west   east-west   <none>   false   0          /state/p/east-west/admin.sock
    "#]],
        )
        .await;
    instance
        .says(
            &["get", "proxies", "edge", "-o", "wide"],
            &expect![[r#"
        NAME   ROLE      PID   READY   RESTARTS   ADMIN                      SCOPE           REVISION
        edge   ingress   12    true    0          /state/p/edge/admin.sock   scope-of-edge   7
    "#]],
        )
        .await;
    instance
        .says(
            &["get", "peers"],
            &expect![[r#"
        NAME    STATE       TRUST-DOMAIN    SERVICES   STREAM   GATEWAYS
        north   Lost        north.example   <none>     false    192.0.2.1:15443
        west    Connected   west.example    3          true     192.0.2.1:15443
    "#]],
        )
        .await;
}

#[tokio::test]
async fn get_shows_objects_whole() {
    let instance = Instance::start();
    instance
        .says(
            &["get", "gateway", "edge", "-o", "yaml"],
            &expect![[r#"
        apiVersion: gateway.networking.k8s.io/v1
        kind: Gateway
        metadata:
          creationTimestamp: "1990-01-01T00:00:00Z"
          name: edge
          namespace: default
        spec:
          gatewayClassName: isthmus
          hostnames:
          - edge.example
    "#]],
        )
        .await;
    let list = instance.run(&["get", "gateways,httproutes", "-A", "-o", "json"]).await;
    let list: Value = serde_json::from_str(&list.out).unwrap();
    assert_eq!(list["items"], json!(objects()));
    let proxies = instance.run(&["get", "proxies", "-o", "json"]).await;
    let proxies: Value = serde_json::from_str(&proxies.out).unwrap();
    assert_eq!(proxies["items"][0]["pid"], 12);
    assert_eq!(proxies["items"][0]["admin"], "/state/p/edge/admin.sock");
}

#[tokio::test]
async fn get_says_what_is_not_there() {
    let instance = Instance::start();
    instance.fails(&["get", "gtw", "x"], 1, "error: there is no Gateway x in namespace default\n").await;
    instance.fails(&["get", "proxies", "x"], 1, "error: there is no proxy x\n").await;
    instance.fails(&["get", "svc"], 0, "nothing found in namespace default\n").await;
    let empty = instance.run(&["get", "svc", "-o", "json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&empty.out).unwrap()["items"], json!([]));
}

#[tokio::test]
async fn peers_are_invited_joined_listed_and_left() {
    let instance = Instance::start();
    instance
        .says(
            &["peer", "invite"],
            &expect![[r#"
        isthmus-join.x
    "#]],
        )
        .await;
    instance
        .says(
            &["peer", "invite", "-o", "json"],
            &expect![[r#"
        {
          "seconds": 900,
          "token": "isthmus-join.x"
        }
    "#]],
        )
        .await;
    instance
        .says(
            &["peer", "join", "good"],
            &expect![[r#"
        joined west (trust domain west.example)
    "#]],
        )
        .await;
    instance
        .says(
            &["peer", "list"],
            &expect![[r#"
        NAME    STATE       TRUST-DOMAIN    SERVICES   STREAM   GATEWAYS          MESSAGE
        north   Lost        north.example   <none>     false    192.0.2.1:15443   cannot connect
        west    Connected   west.example    3          true     192.0.2.1:15443
    "#]],
        )
        .await;
    instance
        .says(
            &["peer", "leave", "west"],
            &expect![[r#"
        left west
    "#]],
        )
        .await;
    instance
        .says(
            &["peer", "leave", "north", "--force", "-o", "json"],
            &expect![[r#"
        {
          "left": "north"
        }
    "#]],
        )
        .await;
}

#[tokio::test]
async fn four_is_a_refusal_and_five_our_own_fault() {
    let instance = Instance::start();
    instance.fails(&["peer", "join", "bad"], 4, "error: the token has been used already\n").await;
    instance.fails(&["peer", "leave", "x"], 1, "error: there is no peer x\n").await;
    instance
        .fails(&["peer", "leave", "broken"], 5, "error: cannot write to the state directory\n")
        .await;
}

#[tokio::test]
async fn explain_asks_the_running_proxies() {
    let instance = Instance::start();
    let args = ["explain", "GET", "http://127.0.0.1/", "-H", "Host: echo.example"];
    instance
        .says(
            &args,
            &expect![[r#"
        request    GET /
        host       echo.example
        socket     127.0.0.1:80 of proxy edge
        gateway    default/edge
        listener   http (hostname *)
        route      HTTPRoute default/echo
        rule       0
        match      0: host *, path / (prefix)
        backends   clusterset/default/echo/80 (weight 1 of 1, 100 %)
                     cluster east
                       127.0.0.1:1: ready, priority 0, weight 1, down
                     cluster west
                       west/abc: ready, priority 1, weight 1, up
    "#]],
        )
        .await;
    let shown = instance.run(&[&args[..], &["-o", "json"]].concat()).await;
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["answers"][0]["proxy"], "edge");
    assert_eq!(shown["answers"][0]["backends"][0]["endpoints"][0]["up"], true);
}
