//! The steps of the tour, in order, each with the bound that it must keep.
//!
//! A step makes one change or fault on the running clusters while the load goes on; what the load saw
//! between its begin and its end is its result.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, ensure};

use crate::{
    load::Load,
    process::{Cluster, Echo, Signal, isthmus, signal},
    relay::Relay,
    stats::Figures,
};

const EDGE: SocketAddr = loopback(10080);
const RELAY: SocketAddr = loopback(25444);
const WEST_GATEWAY: SocketAddr = loopback(25443);
const HOST: &str = "echo.example";
/// Requests a second.
const RATE: u32 = 600;
/// Longer than the control lease (15 s), so that its end is seen to change nothing.
const CUT: Duration = Duration::from_secs(18);
const STEP: Duration = Duration::from_secs(4);
const RETURN: Duration = Duration::from_secs(20);

const PLAIN: &str = include_str!("../east/edge.yaml");
const CANARY: &str = include_str!("../edits/edge-canary.yaml");

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

/// What a step must keep, besides no failed request.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The longest takeover.
    pub takeover: Option<Duration>,
    /// No answer is later than this.
    pub latest: Duration,
    /// The least share, in percent, of requests that each of these clusters answers.
    pub served_by: &'static [(&'static str, u32)],
}

/// A step that was run.
#[derive(Debug)]
pub struct Step {
    /// What was done, in a few words.
    pub name: &'static str,
    /// What the load saw.
    pub figures: Figures,
    /// Each bound that broke, in words; empty when the step held.
    pub broken: Vec<String>,
}

const LATEST: Duration = Duration::from_secs(1);
/// What a frozen gateway may hold a request up: the time to find out, and the second attempt.
const LATEST_FROZEN: Duration = Duration::from_millis(1_500);

/// The fault is made at the step's begin, so that a few answers may still come from west.
const ALL_EAST_AFTER_FAULT: Bound = Bound::served(&[("east", 80)]);

impl Bound {
    const fn served(served_by: &'static [(&'static str, u32)]) -> Self {
        Self { takeover: None, latest: LATEST, served_by }
    }

    const fn takeover(mut self, within: Duration) -> Self {
        self.takeover = Some(within);
        self
    }

    fn broken(&self, figures: &Figures) -> Vec<String> {
        let mut broken = Vec::new();
        if figures.requests == 0 {
            broken.push("no request was sent".to_owned());
        }
        if figures.failed > 0 {
            broken.push(format!("{} requests failed", figures.failed));
        }
        if let (Some(bound), Some(took)) = (self.takeover, figures.takeover_ms)
            && u128::from(took) > bound.as_millis()
        {
            broken.push(format!("takeover took {took} ms; the bound is {} ms", bound.as_millis()));
        }
        if u128::from(figures.max_us) > self.latest.as_micros() {
            let (took, bound) = (figures.max_us / 1000, self.latest.as_millis());
            broken.push(format!("an answer took {took} ms; the bound is {bound} ms"));
        }
        for (cluster, share) in self.served_by {
            let served = figures.served_by.get(*cluster).copied().unwrap_or(0);
            if served * 100 < figures.requests * *share as usize {
                broken.push(format!("{cluster} answered {served} of {} requests", figures.requests));
            }
        }
        broken
    }
}

/// Both clusters, joined, with the load on east's edge.
pub struct Tour {
    east: Cluster,
    west: Cluster,
    east_echoes: Vec<Echo>,
    west_echoes: Vec<Echo>,
    relay: Relay,
    load: Load,
    /// What east's edge had retried at the end of the last step.
    retries: u64,
}

impl Tour {
    /// Starts backends, clusters and relay, joins the clusters, and starts the load.
    ///
    /// # Errors
    /// When a part does not start; the message says which and why.
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        let east_echoes = echoes("east", [18081, 18082]).await?;
        let west_echoes = echoes("west", [28081, 28082]).await?;
        let relay = Relay::start(RELAY, WEST_GATEWAY).await?;
        let (east, west) =
            tokio::try_join!(Cluster::start("east", directory), Cluster::start("west", directory))?;
        join(&east, &west).await?;
        let load = Load::start(EDGE, HOST, RATE);
        Ok(Self { east, west, east_echoes, west_echoes, relay, load, retries: 0 })
    }

    /// Runs every step; `each` is told of a step as it ends.
    ///
    /// # Errors
    /// When a fault cannot be made. A bound that breaks is no error here: the step says so.
    pub async fn run(&mut self, mut each: impl FnMut(&Step)) -> anyhow::Result<Vec<Step>> {
        self.settle().await?;
        let half = Bound::served(&[("east", 35), ("west", 35)]);
        let all_east = Bound::served(&[("east", 99)]);
        let mut steps = Vec::new();
        let mut record = |step: Step| {
            each(&step);
            steps.push(step);
        };

        let from = self.load.now();
        record(self.end("local traffic", from, None, STEP, all_east).await);

        let from = self.load.now();
        for echo in self.east_echoes.drain(..) {
            echo.kill().await?;
        }
        let bound = Bound::served(&[("west", 90)]).takeover(Duration::from_millis(500));
        record(self.end("east's backends killed", from, Some(from), STEP, bound).await);

        let from = self.load.now();
        self.relay.cut_control();
        record(self.end("control stream cut", from, None, CUT, Bound::served(&[("west", 100)])).await);
        self.relay.mend();

        let from = self.load.now();
        self.east_echoes = echoes("east", [18081, 18082]).await?;
        self.until_served_by("east").await?;
        record(self.end("east's backends back", from, None, STEP, Bound::served(&[("east", 50)])).await);

        self.apply(CANARY).await?;
        self.until_served_by("west").await?;
        let from = self.load.now();
        record(self.end("half sent to west by weight", from, None, STEP, half).await);

        let from = self.load.now();
        self.hold_down_gateway(STEP).await?;
        let bound = ALL_EAST_AFTER_FAULT.takeover(Duration::from_millis(500));
        record(self.end("west's gateway killed", from, Some(from), Duration::ZERO, bound).await);

        self.until_served_by("west").await?;
        let from = self.load.now();
        record(self.end("west's gateway back", from, None, STEP, half).await);

        let frozen = self.gateway().await?;
        let from = self.load.now();
        signal(frozen, Signal::Stop)?;
        let bound =
            Bound { latest: LATEST_FROZEN, ..ALL_EAST_AFTER_FAULT }.takeover(Duration::from_secs(1));
        record(self.end("west's gateway frozen", from, Some(from), STEP, bound).await);

        signal(frozen, Signal::Continue)?;
        self.until_served_by("west").await?;
        let from = self.load.now();
        record(self.end("west's gateway thawed", from, None, STEP, half).await);

        self.apply(PLAIN).await?;
        self.settle().await?;
        let from = self.load.now();
        self.east.command(&["peer", "leave", "west"]).await?;
        record(self.end("east leaves west", from, None, STEP, all_east).await);
        Ok(steps)
    }

    /// Waits until both clusters serve what the tour begins with, so that the first step is a steady one.
    async fn settle(&self) -> anyhow::Result<()> {
        self.until_served_by("east").await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(())
    }

    async fn until_served_by(&self, cluster: &str) -> anyhow::Result<()> {
        let since = self.load.now();
        let deadline = since + RETURN;
        while !self.load.served_by(cluster, since) {
            ensure!(self.load.now() < deadline, "{cluster} served nothing for {} s", RETURN.as_secs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Writes east's route anew, as a person would edit the file.
    async fn apply(&self, edge: &str) -> anyhow::Result<()> {
        let file = self.east.manifests.join("edge.yaml");
        tokio::fs::write(&file, edge).await.with_context(|| format!("cannot write {}", file.display()))
    }

    async fn gateway(&self) -> anyhow::Result<u32> {
        self.west.proxy("east-west").await?.context("west runs no east-west gateway")
    }

    /// Kills west's gateway, and again whenever it is restarted, for as long as `time`.
    async fn hold_down_gateway(&self, time: Duration) -> anyhow::Result<()> {
        let until = self.load.now() + time;
        let mut killed = None;
        while self.load.now() < until {
            let pid = self.west.proxy("east-west").await?;
            if let Some(pid) = pid.filter(|pid| killed != Some(*pid)) {
                signal(pid, Signal::Kill)?;
                killed = Some(pid);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn end(
        &mut self,
        name: &'static str,
        from: Duration,
        fault: Option<Duration>,
        lasts: Duration,
        bound: Bound,
    ) -> Step {
        let to = self.load.now() + lasts;
        let samples = self.load.between(from, to).await;
        let mut figures = Figures::of(&samples, fault);
        let retries = self.east.retries().await.unwrap_or(self.retries);
        figures.retried = retries.saturating_sub(self.retries);
        self.retries = retries;
        let broken = bound.broken(&figures);
        Step { name, figures, broken }
    }

    /// Ends the load, and joins the clusters again, as they are to be left running.
    ///
    /// # Errors
    /// When a command fails.
    pub async fn rejoin(&mut self) -> anyhow::Result<()> {
        self.load.stop().await;
        join(&self.east, &self.west).await
    }

    /// What to try when the tour is left running.
    ///
    /// # Errors
    /// When the program that runs cannot be found.
    pub fn guide(&self) -> anyhow::Result<String> {
        let isthmus = isthmus()?;
        let isthmus = isthmus.display();
        let mut lines = vec![format!("curl -H 'Host: {HOST}' http://{EDGE}/hello")];
        for cluster in [&self.east, &self.west] {
            let (name, pid) = (cluster.name, cluster.pid().unwrap_or(0));
            let (manifests, state) = (cluster.manifests.display(), cluster.state_dir().display());
            lines.push(format!("{name}: process {pid}, manifests in {manifests}"));
            lines.push(format!("  {isthmus} get httproutes -A --state-dir {state}"));
            lines.push(format!("  {isthmus} get proxies --state-dir {state}"));
            lines.push(format!("  {isthmus} peer list --state-dir {state}"));
        }
        for echo in self.east_echoes.iter().chain(&self.west_echoes) {
            lines.push(format!("echo backend: process {}", echo.pid().unwrap_or(0)));
        }
        lines.push("interrupt to end".to_owned());
        Ok(lines.join("\n") + "\n")
    }

    /// Ends the load and both clusters, which must drain and end well.
    ///
    /// # Errors
    /// When a cluster does not end with code 0.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.load.stop().await;
        self.east.stop().await?;
        self.west.stop().await
    }
}

/// One invite and one join.
async fn join(east: &Cluster, west: &Cluster) -> anyhow::Result<()> {
    let token = west.command(&["peer", "invite"]).await?;
    east.command(&["peer", "join", token.trim()]).await?;
    Ok(())
}

async fn echoes(cluster: &str, ports: [u16; 2]) -> anyhow::Result<Vec<Echo>> {
    let mut echoes = Vec::new();
    for (number, port) in ports.into_iter().enumerate() {
        echoes.push(Echo::start(&format!("{cluster}/echo-{}", number + 1), loopback(port)).await?);
    }
    Ok(echoes)
}
