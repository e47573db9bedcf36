//! Keeps a set of clusters: claims its number, has its provider bring it up, announces it, waits until its
//! owner ends or says so, and takes it down. Logs of a set that ends otherwise than its owner wished are kept.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::{
    Cluster, Provider,
    addresses::{CLUSTERS, NODES, SETS},
    built,
    claim::Claim,
    command::output,
    kind::OfKind,
    local::Local,
    write_private,
};

/// The set that `make clusters` brings up; tests use others.
pub const PERSONS_SET: u8 = 0;
/// What an owner says on standard input who is content; one who just ends is not.
pub const DOWN: &str = "down\n";
/// What is said at the socket of a lasting set that is to stop.
pub const STOP: &str = "stop\n";

/// How long who connects to the socket may take to say so.
const SAYING: Duration = Duration::from_secs(5);

/// What to bring up.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// How many clusters.
    pub clusters: u8,
    /// How many nodes each has.
    pub nodes: u8,
    /// The number of a set that runs until it is told to stop; others end with their owner.
    pub lasting: Option<u8>,
}

/// A set that is ready, as its supervisor announces it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {
    /// Where everything about it is, for as long as it is up.
    pub directory: PathBuf,
    /// A kubeconfig with a context for each cluster.
    pub kubeconfig: PathBuf,
    /// The clusters.
    pub clusters: Vec<Cluster>,
}

/// A set of clusters as its provider handles it.
pub(super) trait Set {
    /// Brings the clusters up.
    fn bring_up(&mut self, request: Request) -> Result<Vec<Cluster>>;
    /// Saves what components and pods logged so far.
    fn keep_logs(&self, to: &Path) -> Result<()>;
    /// Ends all processes; what they leave is cleared with the claim.
    fn end(&mut self) -> Result<()>;
}

/// How a set came to its end.
struct Ended {
    /// Whether it was asked for.
    content: bool,
    /// Who waits until everything is gone.
    _waits: Option<UnixStream>,
}

/// Brings up what is asked for, announces it on standard output, and takes it down when standard input
/// ends or, if lasting, when it is told so at its socket.
///
/// # Errors
/// When it does not come up; then nothing but logs is left of it.
#[allow(clippy::print_stderr, reason = "who started us wants to know where logs are")]
pub fn serve(request: Request) -> Result<()> {
    if request.clusters > CLUSTERS || request.nodes > NODES || request.clusters * request.nodes == 0 {
        bail!("a set has 1 to {CLUSTERS} clusters of 1 to {NODES} nodes");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("clusters are made by root only: run this again as root, by sudo for instance");
    }
    let programs = built::programs()?;
    let claim =
        Claim::one_of(request.lasting.map_or(PERSONS_SET + 1..=SETS - 1, |number| number..=number))?;
    let mut set: Box<dyn Set> = match Provider::wanted()? {
        Provider::Local => Box::new(Local::new(&claim, &programs)),
        Provider::Kind => Box::new(OfKind::new(&claim, &programs)),
        Provider::Existing(contexts) => bail!("{} are there already", contexts.join(" and ")),
    };
    let ended = attend(request, &claim, set.as_mut(), &programs);
    if !ended.as_ref().is_ok_and(|ended| ended.content) {
        let kept = claim.directory().with_extension("failed");
        let _ = std::fs::remove_dir_all(&kept);
        match set.keep_logs(&kept) {
            Ok(()) => say(&format!("test clusters: logs are in {}", kept.display())),
            Err(error) => say(&format!("test clusters: no logs are kept: {error:#}")),
        }
    }
    let gone = set.end().and_then(|()| claim.clear());
    // Who waits for that is told when the connection closes: now.
    ended.map(drop).and(gone)
}

/// Tells a person, if one is still there: what is to be cleared must be in any case.
fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

fn attend(request: Request, claim: &Claim, set: &mut dyn Set, programs: &Path) -> Result<Ended> {
    std::fs::create_dir_all(claim.directory())?;
    let clusters = set.bring_up(request)?;
    let directory = claim.directory().to_owned();
    let kubeconfig = directory.join("kubeconfig");
    write_private(&kubeconfig, &merged(&clusters, programs)?)?;
    let stop = request.lasting.map(|_| claim.listen()).transpose()?;
    let ready = serde_json::to_string(&Ready { directory, kubeconfig, clusters })?;
    writeln!(std::io::stdout(), "{ready}").context("nobody waits for these clusters any more")?;
    if let Some(listener) = stop {
        return Ok(Ended { content: true, _waits: Some(told_to_stop(&listener)?) });
    }
    let mut said = String::new();
    std::io::stdin().lock().read_to_string(&mut said)?;
    Ok(Ended { content: said == DOWN, _waits: None })
}

/// Waits until somebody says [`STOP`]. Who only looks whether anybody listens says nothing.
fn told_to_stop(listener: &UnixListener) -> Result<UnixStream> {
    loop {
        let (stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(SAYING))?;
        let mut said = String::new();
        let read = BufReader::new((&stream).take(16)).read_line(&mut said);
        if read.is_ok() && said == STOP {
            return Ok(stream);
        }
    }
}

/// One kubeconfig with all clusters; the first one's context is the current one.
fn merged(clusters: &[Cluster], programs: &Path) -> Result<String> {
    let files: Vec<String> =
        clusters.iter().map(|cluster| cluster.kubeconfig.display().to_string()).collect();
    let mut view = Command::new(programs.join("bin/kubectl"));
    output(view.args(["config", "view", "--flatten", "--raw"]).env("KUBECONFIG", files.join(":")))
}

/// Copies what is below `from`, where that is, to below `to`. A file that goes meanwhile is not missed.
pub(super) fn copy_all(from: &Path, to: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(from) else { return Ok(()) };
    std::fs::create_dir_all(to)?;
    for entry in entries {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &to)?;
        } else {
            let _ = std::fs::copy(entry.path(), to);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_says_so_stops_a_set() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("stop");
        let listener = UnixListener::bind(&socket).unwrap();
        let said = |words: &'static str| {
            let mut stream = UnixStream::connect(&socket).unwrap();
            stream.write_all(words.as_bytes()).unwrap();
            stream
        };
        drop(said(""));
        drop(said("status\n"));
        drop(said("stop that\n"));
        let mut stops = said(STOP);
        let waits = told_to_stop(&listener).unwrap();
        drop(waits);
        assert_eq!(stops.read_to_end(&mut Vec::new()).unwrap(), 0, "nobody says when it is over");
    }
}
