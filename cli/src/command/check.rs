//! `isthmus check`: what is wrong with a mesh.

use std::time::Duration;

use clap::Args;
use isthmus_operator::check::{self, Finding};
use tokio::time::{Instant, sleep};

use super::{
    Cluster,
    install::{lines, look},
};
use crate::{failure::Failure, output::print};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Say what is wrong with the mesh of a Kubernetes cluster.
///
/// Prints a line for each problem, which begins with a code, and exits with 6 when there is one.
#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    cluster: Cluster,
    /// Look at what an install needs, not at an install.
    #[arg(long)]
    pre: bool,
    /// Wait until nothing is wrong, for at most so many seconds.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "300")]
    wait: Option<u64>,
}

impl Check {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.cluster.connect().await?;
        let until = Instant::now() + Duration::from_secs(self.wait.unwrap_or_default());
        loop {
            let observed = look(&client).await?;
            let found = if self.pre { check::before(&observed) } else { check::after(&observed) };
            if found.is_empty() {
                return print("nothing is wrong\n");
            }
            if Instant::now() >= until {
                return told(&found);
            }
            sleep(LOOK).await;
        }
    }
}

fn told(found: &[Finding]) -> Result<(), Failure> {
    print(&(lines(found) + "\n"))?;
    Err(Failure::Unhealthy(String::new()))
}
