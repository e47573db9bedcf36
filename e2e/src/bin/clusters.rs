//! Test clusters for people: `clusters up`, `clusters down`. The other commands are its own parts.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person")]

use std::{
    fs::File,
    io::{ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use isthmus_e2e::{
    cache::cache,
    cluster::{
        Cluster,
        addresses::SETS,
        announced, built,
        claim::{self, Claim},
        command::eventually,
        sandbox, supervise,
        supervisor::{self, PERSONS_SET, Request, STOP},
    },
    furnished,
};

/// How long a supervisor may take to end after it said that everything is gone.
const ENDING: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("clusters: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let (command, flags) = arguments.split_first().context("usage: clusters up|down")?;
    let number = |name: &str| -> Result<Option<u8>> {
        let prefix = format!("--{name}=");
        let given = flags.iter().find_map(|flag| flag.strip_prefix(&prefix));
        given.map(|text| text.parse().with_context(|| format!("--{name}={text}"))).transpose()
    };
    let lasting = number("lasting")?;
    let request = Request {
        clusters: number("clusters")?.unwrap_or(2),
        nodes: number("nodes")?.unwrap_or(1),
        lasting,
    };
    match (command.as_str(), flags) {
        ("box", [specification]) => sandbox::run(Path::new(specification)),
        ("serve", _) => supervisor::serve(request),
        ("up", _) => up(request, set()?),
        ("down", _) => down(set()?),
        ("build", _) => {
            println!("{}", built::programs()?.display());
            Ok(())
        }
        _ => bail!("usage: clusters up [--clusters=N] [--nodes=N] | down | build"),
    }
}

/// The number of the set that is meant: `ISTHMUS_SET`, for who wants one beside that of all persons.
fn set() -> Result<u8> {
    let Some(given) = std::env::var_os("ISTHMUS_SET") else { return Ok(PERSONS_SET) };
    let number = given.to_str().and_then(|text| text.parse().ok()).filter(|number| *number < SETS);
    number.with_context(|| format!("ISTHMUS_SET={} is not a number below {SETS}", given.display()))
}

/// Where the supervisor of a set says what goes wrong.
fn log(set: u8) -> Result<PathBuf> {
    Ok(cache()?.join("clusters/run").join(format!("{set}.log")))
}

fn up(request: Request, set: u8) -> Result<()> {
    if claim::taken(set)? {
        bail!("these clusters are up already; `make clusters-down` takes them down");
    }
    // Built here, so that who waits for minutes is told why.
    built::programs()?;
    let log = log(set)?;
    std::fs::create_dir_all(log.parent().context("a directory")?)?;
    let mut command = supervise(request.clusters, request.nodes);
    command.arg(format!("--lasting={set}")).stdin(Stdio::null()).stderr(File::create(&log)?);
    let mut supervisor = command.spawn().context("starting the supervisor")?;
    let ready = announced(&mut supervisor)
        .with_context(|| std::fs::read_to_string(&log).unwrap_or_default().trim().to_owned())?;
    let furnished = furnished::furnish(&ready.clusters)
        .and_then(|()| furnished::exports(&ready.kubeconfig, &ready.directory.join("bin")));
    match furnished {
        Ok(exports) => {
            println!("# Contexts {}. `make clusters-down` takes them down.", names(&ready.clusters));
            print!("{exports}");
            Ok(())
        }
        Err(error) => {
            down(set)?;
            Err(error)
        }
    }
}

fn names(clusters: &[Cluster]) -> String {
    clusters.iter().map(Cluster::context).collect::<Vec<_>>().join(", ")
}

fn down(set: u8) -> Result<()> {
    match UnixStream::connect(claim::stop_socket(set)) {
        Ok(mut supervisor) => {
            supervisor.write_all(STOP.as_bytes())?;
            // It closes the connection when everything is gone.
            supervisor.read_to_end(&mut Vec::new())?;
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            ensure!(!claim::taken(set)?, "these clusters are just coming up, or going down");
        }
        Err(error) => return Err(error.into()),
    }
    // Clears what a killed supervisor has left.
    eventually(ENDING, || Claim::one_of(set..=set))?;
    match std::fs::remove_file(log(set)?) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
