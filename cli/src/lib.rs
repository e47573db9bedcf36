//! The `isthmus` command: arguments, output and exit codes. Logic lives in the crates below it.
//!
//! Answers go to standard output, all else to standard error. Each command is a file in `command`, which
//! returns a [`Failure`](failure::Failure) or nothing; what exit code that means is decided in `failure`
//! alone.

#![cfg_attr(test, allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them so"))]

mod answer;
mod command;
mod failure;
mod manifests;
mod output;

use std::process::ExitCode;

use clap::Parser as _;

/// Runs the command that the process's arguments name.
pub fn main() -> ExitCode {
    let arguments = match command::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return failure::usage(&error),
    };
    failure::exit_code(arguments.run())
}
