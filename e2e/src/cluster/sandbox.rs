//! The first process of a box: a set of namespaces that acts as a machine of its own, a node or the router
//! between nodes. It lays out the box's file system, waits until its network is wired, and then runs what
//! its specification lists. It decides nothing; when it ends, the kernel ends all that runs in the box.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{BufRead as _, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::{
    mount::{
        MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change,
        mount_move,
    },
    process::{WaitOptions, wait},
};
use serde::{Deserialize, Serialize};

use super::command::words;

/// Where a box finds its own state directory.
pub const STATE: &str = "/mnt";

/// Kernel settings that are the whole machine's, and that a kubelet would change.
const MACHINE_SETTINGS: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// What a box is to do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sandbox {
    /// Its host name.
    pub name: String,
    /// Where its state is, as the machine sees it.
    pub state: String,
    /// Where the built programs are, as the machine sees it.
    pub programs: String,
    /// Commands to run once, when the network is there.
    pub setup: Vec<String>,
    /// Programs to keep running: log name to command line.
    pub services: BTreeMap<String, Vec<String>>,
}

/// Lays out the box and runs it until it is killed.
///
/// It prints its process id as the machine sees it, waits for a line, runs the setup and prints another.
///
/// # Errors
/// When the box cannot be laid out.
#[allow(clippy::print_stdout, reason = "the supervisor reads it")]
pub fn run(specification: &Path) -> Result<()> {
    let sandbox: Sandbox = serde_json::from_slice(&std::fs::read(specification)?)?;
    // The machine's own /proc is still mounted, so this is our id outside of the box.
    println!("{}", std::fs::read_link("/proc/self")?.display());
    lay_out(&sandbox).context("laying out the box")?;
    std::io::stdin().lock().read_line(&mut String::new())?;
    for line in &sandbox.setup {
        words(line)?;
    }
    println!("ready");
    serve(&sandbox.services)
}

fn lay_out(sandbox: &Sandbox) -> Result<()> {
    let none = MountFlags::empty();
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // The programs first: they may be below what the state hides.
    mount_bind_recursive(&sandbox.programs, Path::new(&sandbox.state).join("programs"))?;
    mount_bind_recursive(&sandbox.state, STATE)?;
    let inside = Path::new(STATE);
    mount_bind(inside.join("etc/hosts"), "/etc/hosts")?;
    mount_bind(inside.join("etc/resolv.conf"), "/etc/resolv.conf")?;
    // A new /sys shows the box's own network; the control groups stay those of the machine.
    let sys = inside.join("sys");
    mount("sysfs", &sys, "sysfs", none, None)?;
    mount_bind_recursive("/sys/fs/cgroup", sys.join("fs/cgroup"))?;
    mount_move(&sys, "/sys")?;
    mount("proc", "/proc", "proc", none, None)?;
    for setting in MACHINE_SETTINGS {
        let path = Path::new("/proc/sys").join(setting);
        if !path.exists() {
            continue;
        }
        let copy = inside.join("etc").join(setting.replace('/', "."));
        std::fs::write(&copy, std::fs::read(&path)?)?;
        mount_bind(&copy, &path)?;
    }
    for directory in ["/run", "/tmp"] {
        mount("tmpfs", directory, "tmpfs", none, None)?;
    }
    for (ours, path) in [("lib", "/var/lib"), ("logs", "/var/log")] {
        mount_bind(inside.join(ours), path)?;
    }
    mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC)?;
    rustix::system::sethostname(sandbox.name.as_bytes())?;
    Ok(())
}

/// Keeps the services running and reaps every process that is left to us.
fn serve(services: &BTreeMap<String, Vec<String>>) -> Result<()> {
    let mut running = BTreeMap::new();
    for name in services.keys() {
        running.insert(start(services, name)?, name.as_str());
    }
    loop {
        let ended = match wait(WaitOptions::empty()) {
            Ok(Some((pid, _))) => pid.as_raw_nonzero().get().unsigned_abs(),
            Ok(None) | Err(rustix::io::Errno::INTR) => continue,
            Err(rustix::io::Errno::CHILD) => return park(),
            Err(error) => return Err(error.into()),
        };
        if let Some(name) = running.remove(&ended) {
            // A program that cannot start must not take the whole processor.
            std::thread::sleep(Duration::from_millis(200));
            running.insert(start(services, name)?, name);
        }
    }
}

/// A box without services lives until it is killed.
fn park() -> Result<()> {
    loop {
        std::thread::park();
    }
}

fn start(services: &BTreeMap<String, Vec<String>>, name: &str) -> Result<u32> {
    let line = services.get(name).map(Vec::as_slice).unwrap_or_default();
    let (program, arguments) = line.split_first().with_context(|| format!("{name} has no command"))?;
    let mut log = log(name)?;
    writeln!(log, "--- start of {}", line.join(" "))?;
    let child = Command::new(program)
        .args(arguments)
        .env("PATH", format!("{STATE}/programs/bin:/usr/sbin:/usr/bin:/sbin:/bin"))
        .env_remove("XDG_CACHE_HOME")
        .env("HOME", "/tmp")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| name.to_owned())?;
    Ok(child.id())
}

fn log(name: &str) -> Result<File> {
    let path = Path::new(STATE).join("log").join(format!("{name}.log"));
    Ok(OpenOptions::new().create(true).append(true).open(path)?)
}
