//! `isthmus demo`: the guided tour, and the backends that it starts.

use std::{io::stdout, net::SocketAddr};

use clap::{Args, Subcommand};
use isthmus_demo::Options;

use super::busy;
use crate::{failure::Failure, output::JsonOnly};

/// Take a guided tour: two clusters, a steady load, and one fault after another.
///
/// Exits with 1 when a step breaks its bound.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Demo {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    output: JsonOnly,
    /// Leave everything running at the end, until interrupted.
    #[arg(long)]
    keep: bool,
}

#[derive(Subcommand)]
enum Part {
    /// Serve an echo backend, as the tour does.
    Echo {
        /// What it says it is.
        #[arg(long)]
        name: String,
        /// Where it listens.
        #[arg(long)]
        address: SocketAddr,
    },
}

impl Demo {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let failed = |error: anyhow::Error| Failure::Internal(format!("{error:#}"));
        match self.part {
            Some(Part::Echo { name, address }) => {
                busy(async move { isthmus_demo::run_echo(&name, address).await.map_err(failed) })
            }
            None => busy(async move {
                let options = Options { json: self.output.is_json(), keep: self.keep };
                let held = isthmus_demo::run(options, &mut stdout()).await.map_err(failed)?;
                held.then_some(()).ok_or_else(|| Failure::Invalid("a step broke its bound".to_owned()))
            }),
        }
    }
}
