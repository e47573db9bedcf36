//! A box that runs: the first process of its namespaces, and the one that keeps it.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::command::words;

/// A box: its first process, and what keeps it.
pub(super) struct RunningBox {
    keeper: Child,
    stdin: ChildStdin,
    said: BufReader<ChildStdout>,
    pid: Pid,
}

impl RunningBox {
    pub(super) fn spawn(specification: &Path) -> Result<Self> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--uts", "--ipc"]);
        command.args(["--net", "--kill-child=KILL", "--"]).arg(std::env::current_exe()?);
        command.arg("box").arg(specification).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(File::create(specification.with_file_name("log").join("box.log"))?);
        let mut keeper = command.spawn().context("starting a box")?;
        let stdin = keeper.stdin.take().context("no standard input")?;
        let mut said = BufReader::new(keeper.stdout.take().context("no standard output")?);
        let mut line = String::new();
        said.read_line(&mut line)?;
        let pid = line.trim().parse().ok().and_then(Pid::from_raw);
        Ok(Self { pid: pid.context("a box did not tell its process")?, keeper, stdin, said })
    }

    /// Its first process, as the machine numbers it.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Ends all that runs in it.
    pub(super) fn kill(&self) {
        // It may be gone already.
        let _ = kill_process(self.pid, Signal::KILL);
    }

    /// Waits until it is gone.
    pub(super) fn ended(mut self) -> Result<()> {
        self.keeper.wait()?;
        Ok(())
    }

    /// Lets the box go on, and waits until it has set up its network.
    pub(super) fn proceed(&mut self) -> Result<()> {
        self.stdin.write_all(b"\n")?;
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        if line.trim() == "ready" { Ok(()) } else { bail!("it did not set up its network") }
    }
}

/// Joins a node's box to the router's; `number` is unique among nodes.
pub(super) fn wire_node(router: Pid, node: Pid, number: usize) -> Result<()> {
    let inside = format!("nsenter -t {} -n", router.as_raw_nonzero());
    let node = node.as_raw_nonzero();
    words(&format!("{inside} ip link add node{number} type veth peer name eth0 netns {node}"))?;
    words(&format!("{inside} ip link set node{number} master nodes up"))?;
    Ok(())
}
