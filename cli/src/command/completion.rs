//! `isthmus completion`: a script that completes commands in a shell.

use std::io::Write as _;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Arguments;
use crate::failure::Failure;

/// Print a script that completes isthmus commands in a shell.
#[derive(Args)]
pub(crate) struct Completion {
    /// The shell.
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        // By way of a buffer, since the generator panics when it cannot write.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "isthmus", &mut script);
        Ok(std::io::stdout().lock().write_all(&script)?)
    }
}
