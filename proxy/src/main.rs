//! The `isthmus-proxy` program: arguments, signals, exit code.

use std::{
    io::{self, IsTerminal as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use isthmus_ir::{Redacted, SpiffeId};
use isthmus_proxy::{
    AccessLog, Limits, Proxy, Settings, admin, available_threads,
    control_plane::{self, ControlPlane},
    disable_huge_pages,
};
use isthmus_xds::tls::Address;
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Where the proof of who this proxy is comes from.
const TOKEN: &str = "ISTHMUS_PROXY_TOKEN";

/// How long a proxy of a network goes on serving after the signal to end, and how long it then takes at
/// most: less in all than the 30 seconds that Kubernetes gives.
const REMOTE_DRAIN: (u64, u64) = (5, 20);
/// On one machine whoever ends a proxy has told its clients.
const LOCAL_DRAIN: (u64, u64) = (0, 10);

/// The data plane of Isthmus. A control plane tells it what to do: one on this machine (`--control`), or one
/// on the network (`--control-plane`, with whom to expect there).
#[derive(Parser, Debug)]
#[command(version)]
struct Arguments {
    /// The Unix socket of a control plane on this machine; `ISTHMUS_PROXY_TOKEN` says who this proxy is.
    #[arg(long, value_name = "SOCKET", required_unless_present = "control_plane")]
    control: Option<PathBuf>,
    #[command(flatten)]
    remote: Option<RemoteArguments>,
    /// Where last good resources and this proxy's own certificate are kept.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The Unix socket of the admin interface: `/ready`, `/metrics`, `/config_dump`, `/explain`.
    #[arg(long, value_name = "SOCKET")]
    admin: Option<PathBuf>,
    /// Where `/ready` and `/metrics`, and nothing else, are answered by plain HTTP.
    #[arg(long, value_name = "IP:PORT")]
    ready_address: Option<SocketAddr>,
    /// After the signal to end: how long to serve as before while not ready, so that load balancers learn
    /// of it; 5 with `--control-plane`, 0 with `--control`.
    #[arg(long, value_name = "SECONDS")]
    drain_wait: Option<u64>,
    /// After that: how long requests may take to finish; 20 with `--control-plane`, 10 with `--control`.
    #[arg(long, value_name = "SECONDS")]
    drain_deadline: Option<u64>,
    /// Request threads; the CPU quota by default.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Writes a line of JSON for each request to this file, or to standard output for `-`.
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
}

/// A control plane on the network.
#[derive(clap::Args, Debug)]
#[group(id = "remote", requires_all = ["control_plane", "control_plane_id", "roots", "token_file"],
    conflicts_with = "control")]
struct RemoteArguments {
    /// The address of a control plane on the network, which is reached by TLS.
    #[arg(long, value_name = "HOST:PORT", required = false)]
    control_plane: Address,
    /// Who must answer there.
    #[arg(long, value_name = "SPIFFE_ID", required = false)]
    control_plane_id: SpiffeId,
    /// The roots that vouch for it, PEM. Read anew for each connection.
    #[arg(long, value_name = "FILE", required = false)]
    roots: PathBuf,
    /// The token that proves who this proxy is when it asks for a certificate. Read anew each time.
    #[arg(long, value_name = "FILE", required = false)]
    token_file: PathBuf,
}

impl Arguments {
    fn limits(&self) -> Limits {
        let (wait, deadline) = if self.remote.is_some() { REMOTE_DRAIN } else { LOCAL_DRAIN };
        Limits {
            drain_wait: Duration::from_secs(self.drain_wait.unwrap_or(wait)),
            drain: Duration::from_secs(self.drain_deadline.unwrap_or(deadline)),
            ..Limits::default()
        }
    }

    fn control_plane(self) -> ControlPlane {
        match self.remote {
            Some(remote) => ControlPlane::Remote {
                address: remote.control_plane,
                id: remote.control_plane_id,
                roots: remote.roots,
                token_file: remote.token_file,
            },
            None => ControlPlane::Local {
                // There is one, or there are no arguments.
                socket: self.control.unwrap_or_default(),
                token: Redacted::new(std::env::var(TOKEN).unwrap_or_default()),
            },
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("ISTHMUS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .init();
    if let Err(error) = disable_huge_pages() {
        tracing::debug!(%error, "huge pages stay on");
    }
    // The control task does little; the request threads have runtimes of their own.
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::from(5);
        }
    };
    match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the proxy cannot start");
            ExitCode::from(5)
        }
    }
}

async fn run(arguments: Arguments) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let access_log = arguments.access_log.clone().map(|path| match path.as_os_str() {
        dash if dash == "-" => AccessLog::Stdout,
        _ => AccessLog::File(path),
    });
    let settings = Settings {
        threads: arguments.threads.unwrap_or_else(available_threads),
        state_dir: arguments.state_dir.clone(),
        admin: arguments.admin.clone(),
        access_log,
        limits: arguments.limits(),
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), threads = settings.threads, "starting");
    let mut kept = settings.state_dir.as_deref().map(control_plane::load).unwrap_or_default();
    let listener = settings.admin.as_deref().map(admin::bind).transpose()?;
    let public = match arguments.ready_address {
        Some(address) => Some(admin::bind_public(address).map_err(|error| {
            io::Error::new(error.kind(), format!("--ready-address {address}: {error}"))
        })?),
        None => None,
    };
    let (proxy, begun) = Proxy::start(settings, kept.resources.clone())?;
    // What this version refuses is not held: it is to be sent again, and refused where that is heard.
    kept.versions.retain(|(key, _)| !begun.refused.iter().any(|(refused, _)| refused == key));
    let proxy = Arc::new(proxy);
    if let Some(listener) = listener {
        tokio::spawn(admin::serve(Arc::clone(&proxy), listener));
    }
    if let Some(listener) = public {
        tokio::spawn(admin::serve_public(Arc::clone(&proxy), listener));
    }
    let follow = control_plane::follow(Arc::clone(&proxy), arguments.control_plane(), &kept);
    let mut follow = std::pin::pin!(follow);
    tokio::select! {
        never = &mut follow => match never {},
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("draining");
    control_plane::save(&proxy).await;
    tokio::select! {
        never = &mut follow => match never {},
        () = proxy.drain() => tracing::info!("drained"),
        _ = terminate.recv() => tracing::warn!("ending at once"),
        _ = interrupt.recv() => tracing::warn!("ending at once"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::{Arguments, ControlPlane};

    const REMOTE: [&str; 8] = [
        "--control-plane",
        "control:15012",
        "--control-plane-id",
        "spiffe://east.example/ns/isthmus-system/sa/isthmus-control-plane",
        "--roots",
        "/root.pem",
        "--token-file",
        "/token",
    ];

    fn parse(arguments: &[&str]) -> Result<Arguments, String> {
        let arguments = ["isthmus-proxy"].iter().chain(arguments);
        Arguments::try_parse_from(arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn a_control_plane_is_on_this_machine_or_on_the_network() {
        Arguments::command().debug_assert();
        let local = parse(&["--control", "c.sock"]).unwrap();
        assert_eq!((local.limits().drain_wait.as_secs(), local.limits().drain.as_secs()), (0, 10));
        assert!(matches!(local.control_plane(), ControlPlane::Local { .. }));
        let remote = parse(&REMOTE).unwrap();
        assert_eq!((remote.limits().drain_wait.as_secs(), remote.limits().drain.as_secs()), (5, 20));
        assert!(matches!(remote.control_plane(), ControlPlane::Remote { .. }));

        assert!(parse(&[]).unwrap_err().contains("--control <SOCKET>"));
        assert!(parse(&REMOTE[..6]).unwrap_err().contains("--token-file <FILE>"));
        assert!(parse(&REMOTE[2..]).unwrap_err().contains("--control-plane <HOST:PORT>"));
        let both = parse(&[&["--control", "c.sock"], &REMOTE[..]].concat()).unwrap_err();
        assert!(both.contains("cannot be used with"), "{both}");
        let bad = parse(&["--control-plane", "control"]).unwrap_err();
        assert!(bad.contains("must be a host and a port"), "{bad}");
    }
}
