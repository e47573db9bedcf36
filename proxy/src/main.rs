//! The `isthmus-proxy` program: arguments, signals, exit code.

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode, sync::Arc};

use clap::Parser;
use isthmus_ir::Redacted;
use isthmus_proxy::{
    AccessLog, Proxy, Settings, admin, available_threads,
    control_plane::{self, ControlPlane},
    disable_huge_pages,
};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Where the proof of who this proxy is comes from.
const TOKEN: &str = "ISTHMUS_PROXY_TOKEN";

/// The data plane of Isthmus. It is started by a control plane, which also tells it what to do.
#[derive(Parser, Debug)]
#[command(version)]
struct Arguments {
    /// The control plane's Unix socket.
    #[arg(long, value_name = "SOCKET")]
    control: PathBuf,
    /// Where last good resources and this proxy's own certificate are kept.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The Unix socket of the admin interface: `/ready`, `/metrics`, `/config_dump`, `/explain`.
    #[arg(long, value_name = "SOCKET")]
    admin: Option<PathBuf>,
    /// Request threads; the CPU quota by default.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Writes a line of JSON for each request to this file, or to standard output for `-`.
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
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

async fn run(arguments: Arguments) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let access_log = arguments
        .access_log
        .map(|path| if path.as_os_str() == "-" { AccessLog::Stdout } else { AccessLog::File(path) });
    let settings = Settings {
        threads: arguments.threads.unwrap_or_else(available_threads),
        state_dir: arguments.state_dir,
        admin: arguments.admin,
        access_log,
        ..Settings::default()
    };
    let kept = settings.state_dir.as_deref().map(control_plane::load).unwrap_or_default();
    let listener = settings.admin.as_deref().map(admin::bind).transpose()?;
    let (proxy, _) = Proxy::start(settings, kept.resources.clone())?;
    let proxy = Arc::new(proxy);
    if let Some(listener) = listener {
        tokio::spawn(admin::serve(Arc::clone(&proxy), listener));
    }
    let token = Redacted::new(std::env::var(TOKEN).unwrap_or_default());
    let control_plane = ControlPlane { socket: arguments.control, token };
    let follow = control_plane::follow(Arc::clone(&proxy), control_plane, &kept);
    tokio::select! {
        never = follow => match never {},
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("draining");
    tokio::select! {
        () = proxy.drain() => tracing::info!("drained"),
        _ = terminate.recv() => tracing::warn!("ending at once"),
        _ = interrupt.recv() => tracing::warn!("ending at once"),
    }
    Ok(())
}
