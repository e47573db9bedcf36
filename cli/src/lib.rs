//! What people type: arguments, output, exit codes. What commands do lives in the crates below.
//!
//! Standard output is for answers, standard error for logs and for what is wrong.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "answers and errors of a program")]

mod arguments;
mod exit;
mod run;

use std::process::ExitCode;

use clap::Parser as _;

use self::arguments::{Arguments, Command};
pub use self::exit::Exit;

/// Does what the command line says.
pub fn main() -> ExitCode {
    // A usage error ends with code 2 here.
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("ISTHMUS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("isthmus: cannot start: {error}");
            return ExitCode::from(5);
        }
    };
    match runtime.block_on(dispatch(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            exit.report();
            exit.code()
        }
    }
}

async fn dispatch(arguments: Arguments) -> Result<(), Exit> {
    match arguments.command {
        Command::Run(run) => run::run(run).await,
    }
}
