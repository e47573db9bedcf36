//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A service mesh that spans clusters.
#[derive(Parser, Debug)]
#[command(name = "isthmus", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run the control plane and its proxies on this machine.
    ///
    /// Prints one line that begins with `ready` when every accepted Gateway is programmed, or says why it
    /// cannot be. SIGTERM and SIGINT drain; a second one ends at once.
    Run(Run),
}

/// Where an instance keeps its state, and is found.
#[derive(Args, Debug)]
pub(crate) struct StateDir {
    /// The state directory of the instance.
    #[arg(
        long,
        value_name = "DIR",
        env = "ISTHMUS_STATE_DIR",
        default_value = ".isthmus",
        global = true
    )]
    pub(crate) state_dir: PathBuf,
}

/// Arguments of `run`.
#[derive(Args, Debug)]
pub(crate) struct Run {
    /// Directories or files with manifests; `-` is standard input.
    #[arg(short, long, value_name = "DIR", required = true, num_args = 1..)]
    pub(crate) filename: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) state: StateDir,
}
