//! Test clusters for people: `clusters up`, `clusters down`. The other commands are its own parts.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person")]

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail};
use isthmus_e2e::{
    cache::cache,
    cluster::{
        announced, clusters, sandbox, supervise,
        supervisor::{self, PERSONS_SET, Ready, Request},
    },
    conformance, install, product,
};

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
    let number = |name: &str, default: u8| -> Result<u8> {
        let prefix = format!("--{name}=");
        let given = flags.iter().find_map(|flag| flag.strip_prefix(&prefix));
        given.map_or(Ok(default), |text| text.parse().with_context(|| format!("--{name}={text}")))
    };
    let (count, nodes) = (number("clusters", 2)?, number("nodes", 1)?);
    match (command.as_str(), flags) {
        ("box", [specification]) => sandbox::run(Path::new(specification)),
        ("serve", _) => {
            let lasting = flags.iter().any(|flag| flag == "--lasting");
            supervisor::serve(Request { clusters: count, nodes, lasting })
        }
        ("up", _) => up(count, nodes),
        ("down", _) => down(),
        ("build", _) => built(),
        _ => bail!("usage: clusters up [--clusters=N] [--nodes=N] | down | build"),
    }
}

fn built() -> Result<()> {
    println!("{}", isthmus_e2e::cluster::built::programs()?.display());
    Ok(())
}

/// Where the kubeconfig is for as long as the clusters are up.
fn kubeconfig() -> Result<PathBuf> {
    Ok(cache()?.join("clusters/kubeconfig"))
}

fn up(count: u8, nodes: u8) -> Result<()> {
    let programs = isthmus_e2e::cluster::built::programs()?;
    if UnixStream::connect(supervisor::stop_socket(PERSONS_SET)?).is_ok() {
        bail!("clusters are up already; `make clusters-down` takes them down");
    }
    let log = cache()?.join("clusters/supervisor.log");
    let mut command = supervise(count, nodes);
    command.arg("--lasting").stdin(Stdio::null()).stderr(File::create(&log)?);
    let mut supervisor = command.spawn().context("starting the supervisor")?;
    let ready: Ready = announced(&mut supervisor).with_context(|| format!("see {}", log.display()))?;
    for cluster in clusters(&ready) {
        install::load_images(&cluster, product::VERSION)?;
        conformance::define(&cluster, "standard")?;
    }
    let kubeconfig = kubeconfig()?;
    std::fs::copy(&ready.kubeconfig, &kubeconfig)?;
    println!("# Contexts {}. `make clusters-down` takes them down.", names(&ready).join(", "));
    println!("export KUBECONFIG={}", kubeconfig.display());
    println!("export PATH={}:$PATH", tools(&programs)?.display());
    Ok(())
}

/// A directory with kubectl and helm, and nothing else that could hide a person's own programs.
fn tools(programs: &Path) -> Result<PathBuf> {
    let tools = cache()?.join("clusters/bin");
    std::fs::create_dir_all(&tools)?;
    for name in ["kubectl", "helm"] {
        match std::fs::remove_file(tools.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => std::os::unix::fs::symlink(programs.join("bin").join(name), tools.join(name))?,
        }
    }
    Ok(tools)
}

fn names(ready: &Ready) -> Vec<&str> {
    ready.clusters.iter().map(|cluster| cluster.name.as_str()).collect()
}

fn down() -> Result<()> {
    match UnixStream::connect(supervisor::stop_socket(PERSONS_SET)?) {
        Ok(mut supervisor) => {
            // It closes the connection when everything is gone.
            supervisor.read_to_end(&mut Vec::new())?;
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            supervisor::clear_lasting()?;
        }
        Err(error) => return Err(error.into()),
    }
    match std::fs::remove_file(kubeconfig()?) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
