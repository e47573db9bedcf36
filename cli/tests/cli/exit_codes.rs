//! The exit codes that `docs/reference.md` promises, by running the program.

use std::{
    fs,
    io::Read as _,
    os::unix::net::UnixListener,
    process::{Child, Stdio},
};

use crate::common::{isthmus, run};

fn code(args: &[&str]) -> Option<i32> {
    let ran = run(args);
    assert!(ran.code == Some(0) || !ran.err.is_empty() || !ran.out.is_empty(), "{args:?} says nothing");
    ran.code
}

#[test]
fn help_and_version_are_answers() {
    for args in
        [vec!["--help"], vec!["--version"], vec!["get", "--help"], vec!["peer", "join", "--help"]]
    {
        let ran = run(&args);
        assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{args:?}");
        assert!(!ran.out.is_empty());
    }
}

#[test]
fn two_is_a_wrong_command_line() {
    for args in [
        &[][..],
        &["bogus"],
        &["get"],
        &["get", "bogus"],
        &["get", "gateways,proxies"],
        &["get", "gateways", "-o", "bogus"],
        &["get", "gateways", "-A", "-n", "x"],
        &["run"],
        &["translate"],
        &["explain", "GET", "/no-host"],
        &["explain", "GET", "http://a/", "-H", "nothing"],
        &["peer"],
        &["peer", "join"],
        &["completion", "bogus"],
        &["demo", "--keep", "echo"],
    ] {
        let ran = run(args);
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.err);
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{args:?}");
    }
}

#[test]
fn one_is_invalid_input() {
    assert_eq!(code(&["validate", "-f", "broken"]), Some(1));
    assert_eq!(code(&["translate", "-f", "broken"]), Some(1));
    for command in ["validate", "translate", "run"] {
        let ran = run(&[command, "-f", "no/such/directory"]);
        assert_eq!(ran.code, Some(1));
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
        assert!(ran.err.contains("no/such/directory"), "{}", ran.err);
    }
}

#[test]
fn three_is_no_instance() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().to_str().unwrap();
    let crashed = dir.path().join("crashed");
    fs::create_dir(&crashed).unwrap();
    drop(UnixListener::bind(crashed.join("control.sock")).unwrap());
    for state in [state, "/no/such/directory", crashed.to_str().unwrap()] {
        for args in [
            &["get", "gateways"][..],
            &["get", "proxies", "-o", "json"],
            &["explain", "GET", "http://a/"],
            &["peer", "invite"],
            &["peer", "join", "token"],
            &["peer", "list"],
            &["peer", "leave", "x", "--force"],
        ] {
            let ran = run(&[args, &["--state-dir", state]].concat());
            assert_eq!(ran.code, Some(3), "{args:?}: {}", ran.err);
            assert!(ran.out.is_empty() && ran.err.contains(state), "{}", ran.err);
            assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
        }
    }
    let by_environment = isthmus(&["peer", "list"]).env("ISTHMUS_STATE_DIR", state).output().unwrap();
    assert!(String::from_utf8(by_environment.stderr).unwrap().contains(state));
}

#[test]
fn output_that_nobody_reads_is_no_error() {
    let mut child: Child =
        isthmus(&["completion", "zsh"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), &*err), (Some(0), ""));
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completion", shell]);
        assert_eq!(ran.code, Some(0));
        for command in ["run", "get", "explain", "translate", "validate", "peer", "demo"] {
            assert!(ran.out.contains(command), "{shell} does not know {command}");
        }
    }
}
