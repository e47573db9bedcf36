//! Running the built program as a person would.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The program, away from whatever instance this machine runs.
pub fn isthmus(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_isthmus"));
    command.args(args).env_remove("ISTHMUS_STATE_DIR").env_remove("ISTHMUS_LOG").current_dir(testdata());
    command
}

pub fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// What a run of the program led to.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn run(args: &[&str]) -> Ran {
    ran(isthmus(args).output().unwrap())
}

pub fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
