//! The commands, and what several of them have in common.

mod check;
mod completion;
mod control_plane;
mod demo;
mod explain;
mod get;
mod install;
mod operator;
mod peer;
mod run;
mod translate;
mod uninstall;
mod validate;

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use clap::{Args, Parser, Subcommand};
use isthmus_api_server::connect;
use isthmus_control_plane::{files::diagnostic::Diagnostic, socket::Client};
use tokio::runtime;
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// A service mesh that spans clusters.
#[derive(Parser)]
#[command(name = "isthmus", version, about, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Operator(operator::Operator),
    Install(install::Install),
    Uninstall(uninstall::Uninstall),
    Check(check::Check),
    ControlPlane(control_plane::ControlPlane),
    Get(get::Get),
    Explain(explain::Explain),
    Translate(translate::Translate),
    Validate(validate::Validate),
    Peer(peer::Peer),
    Demo(demo::Demo),
    Completion(completion::Completion),
}

impl Arguments {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Run(command) => busy(command.run()),
            Command::Operator(command) => busy(command.run()),
            Command::Install(command) => quiet(command.run()),
            Command::Uninstall(command) => quiet(command.run()),
            Command::Check(command) => quiet(command.run()),
            Command::ControlPlane(command) => busy(command.run()),
            Command::Get(command) => quiet(command.run()),
            Command::Explain(command) => quiet(command.run()),
            Command::Translate(command) => command.run(),
            Command::Validate(command) => command.run(),
            Command::Peer(command) => quiet(command.run()),
            Command::Demo(command) => command.run(),
            Command::Completion(command) => command.run(),
        }
    }
}

/// Which instance is asked.
#[derive(Args)]
struct Instance {
    /// State directory of the instance.
    #[arg(long, value_name = "DIR", env = "ISTHMUS_STATE_DIR", default_value = ".isthmus")]
    state_dir: PathBuf,
}

impl Instance {
    fn client(&self) -> Client {
        Client::new(&self.state_dir)
    }
}

/// Which cluster is meant.
#[derive(Args)]
struct Cluster {
    /// The kubeconfig file. The default is what `KUBECONFIG` says, or `~/.kube/config`, or the service
    /// account of this pod.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context in it. The default is its current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl Cluster {
    async fn connect(&self) -> Result<isthmus_api_server::Client, Failure> {
        let client = connect(self.kubeconfig.as_deref(), self.context.as_deref()).await;
        client.map_err(|error| Failure::invalid(&error))
    }
}

/// What is read.
#[derive(Args)]
struct Files {
    /// Directories or files of manifests; `-` is standard input.
    #[arg(short, long = "file", value_name = "DIR", required = true, num_args = 1..)]
    file: Vec<PathBuf>,
}

impl Files {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        self.file.iter().map(PathBuf::as_path)
    }
}

/// Runs a command that waits for one answer, on this thread.
fn quiet(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    // What the client of the API server finds odd is in the answers, or no matter.
    log("warn,kube_client=error");
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::internal(&error))?.block_on(command)
}

/// Runs a command that does many things at once.
fn busy(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    log("info");
    let runtime = runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::internal(&error))?.block_on(command)
}

/// Says what is wrong with manifests, where that is not the answer itself.
#[expect(clippy::print_stderr, reason = "it is no answer")]
fn complain(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        eprintln!("{diagnostic}\n");
    }
}

/// Logs to standard error, `level` and worse unless `ISTHMUS_LOG` says otherwise.
fn log(level: &str) {
    let filter = EnvFilter::try_from_env("ISTHMUS_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // Nobody else sets one up; if somebody had, theirs would stand.
    let _ = log.try_init();
}
