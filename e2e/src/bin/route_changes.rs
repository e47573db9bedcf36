//! Edits routes at a steady rate, and sees when each edit is in force at a proxy: a part of
//! `make bench-operator`, in a process that costs little, since it shares its machine with what it measures.
//!
//! `KUBECONFIG=FILE route_changes PROXY NAMESPACE ROUTES FIRST RATE SECONDS`: the route `r-N` answers at the
//! host `hN.example` of PROXY with the header `x-generation`, which each edit sets to the next number after
//! FIRST. Prints `{"written": [..], "in_force": [..]}`: milliseconds from the time at which an edit was due
//! to its answer, and to the first request that shows it, sorted.

#![allow(clippy::print_stdout, reason = "the figures are the answer")]

use std::{
    env::args,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http::{HeaderValue, Request, header::HOST};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use kube::{
    Api, Client,
    api::{ApiResource, Patch, PatchParams},
    core::{DynamicObject, GroupVersionKind},
};
use serde_json::json;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

/// Between two looks at the proxy: who only looks must leave room for what is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// When an edit is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Edits that follow each other are of routes far from each other.
const STRIDE: usize = 7_919;

#[derive(Clone)]
struct Bench {
    routes: Api<DynamicObject>,
    proxy: Arc<Proxy>,
}

struct Proxy {
    address: String,
    /// Connections that nobody uses now.
    idle: Mutex<Vec<Connection>>,
}

type Connection = SendRequest<Empty<Bytes>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = args().skip(1).collect();
    let [address, namespace, routes, first, rate, seconds] = arguments.as_slice() else {
        bail!("usage: route_changes PROXY NAMESPACE ROUTES FIRST RATE SECONDS");
    };
    let (routes, first): (usize, usize) = (routes.parse()?, first.parse()?);
    let (rate, seconds): (u32, u32) = (rate.parse()?, seconds.parse()?);
    ensure!(routes > 1, "one route is left alone, so there must be two");
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
    let client = Client::try_default().await?;
    let bench = Bench {
        routes: Api::namespaced_with(client, namespace, &ApiResource::from_gvk(&kind)),
        proxy: Arc::new(Proxy { address: address.clone(), idle: Mutex::default() }),
    };
    let (start, mut edits) = (Instant::now(), JoinSet::new());
    for number in 1..=rate * seconds {
        let due = start + Duration::from_secs(1) * number / rate;
        sleep_until(due).await;
        let generation = first + number as usize;
        // The first route is left alone: it is asked for meanwhile.
        edits.spawn(bench.clone().edit(1 + generation * STRIDE % (routes - 1), generation, due));
    }
    let (mut written, mut in_force) = (Vec::new(), Vec::new());
    while let Some(edit) = edits.join_next().await {
        let (write, force) = edit??;
        written.push(milliseconds(write));
        in_force.push(milliseconds(force));
    }
    written.sort_by(f64::total_cmp);
    in_force.sort_by(f64::total_cmp);
    println!("{}", json!({ "written": written, "in_force": in_force }));
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

impl Bench {
    /// How long after it was due the edit of this route was written, and in force.
    async fn edit(self, route: usize, generation: usize, due: Instant) -> Result<(Duration, Duration)> {
        let value = generation.to_string();
        let rules = json!([{
            "filters": [{
                "type": "ResponseHeaderModifier",
                "responseHeaderModifier": { "set": [{ "name": "x-generation", "value": value }] },
            }],
            "backendRefs": [{ "name": "web", "port": 80 }],
        }]);
        let edit = Patch::Merge(json!({ "spec": { "rules": rules } }));
        self.routes.patch(&format!("r-{route}"), &PatchParams::default(), &edit).await?;
        let written = due.elapsed();
        let host = HeaderValue::try_from(format!("h{route}.example"))?;
        while self.proxy.generation(&host).await?.as_deref() != Some(value.as_bytes()) {
            ensure!(due.elapsed() < PATIENCE, "{host:?} does not answer as the edit says");
            sleep(LOOK).await;
        }
        Ok((written, due.elapsed()))
    }
}

impl Proxy {
    /// What is answered for this host now.
    async fn generation(&self, host: &HeaderValue) -> Result<Option<Vec<u8>>> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let request = Request::get("/").header(HOST, host).body(Empty::new())?;
        let answer = connection.send_request(request).await.context("the proxy gave no answer")?;
        let generation = answer.headers().get("x-generation").map(|value| value.as_bytes().to_vec());
        answer.into_body().collect().await?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(generation)
    }

    async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(&self.address).await?;
        let (connection, runs) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(runs);
        Ok(connection)
    }
}
