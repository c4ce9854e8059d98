//! The program: its subcommands, so that another program can have them too.

use std::{env, fs, io::Write, net::SocketAddr, path::Path, path::PathBuf};

use anyhow::Context;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::RunArgs,
    healthcheck, keygen, logging, openapi,
    routes::router,
    server::{self, Limits},
    state::AppState,
    timer,
};

/// The coordinator's command line; without a subcommand it serves.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Command {
    /// What to do.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// How to serve, if there is no subcommand.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What the coordinator's program can do.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Action {
    /// Serve until SIGTERM or SIGINT (the default)
    Serve(Box<RunArgs>),
    /// Ask a coordinator on this machine whether it is healthy; exit code 0 if it is
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print openapi.json
    Openapi,
    /// Print fresh signing keys for `SIGNING_KEY`: keep them secret, and give the same ones to every copy
    Keygen {
        /// Write them to this new file, readable by its owner only, instead
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

/// Does what the command line says.
///
/// # Errors
/// With context: what failed and what to do.
pub async fn execute(command: Command) -> anyhow::Result<()> {
    match command.action.unwrap_or_else(|| Action::Serve(Box::new(command.run))) {
        Action::Serve(args) => serve(&args).await,
        Action::Healthcheck(args) => healthcheck::run(&args).await,
        Action::Openapi => print(&openapi::document().to_pretty_json()?),
        Action::Keygen { out } => match out {
            Some(path) => write_secret(&path, &keygen::generate_signing_keys()?),
            None => print(&keygen::generate_signing_keys()?),
        },
    }
}

async fn serve(args: &RunArgs) -> anyhow::Result<()> {
    logging::init(args)?;
    // TLS to Redis panics without a provider. One that is there already is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let settings = args.check(|name| env::var(name).ok())?;
    let cleanup_interval = settings.cleanup_interval;
    let state = AppState::new(settings).context("REDIS_URL cannot be used")?;
    let wanted = SocketAddr::new(args.coordinator_http_bind, args.coordinator_http_port);
    let listener = TcpListener::bind(wanted).await.with_context(|| {
        format!("cannot listen on {wanted}: set COORDINATOR_HTTP_PORT or COORDINATOR_HTTP_BIND to what is free")
    })?;
    let address = listener.local_addr()?;
    if let Some(path) = &args.port_file {
        write_atomically(path, &format!("{address}\n"))
            .with_context(|| format!("cannot write PORT_FILE {}", path.display()))?;
    }
    tracing::info!(component = "coordinator", version = env!("CARGO_PKG_VERSION"), address = %address, "listening");
    let limits = Limits::default();
    server::raise_open_files(limits.connections);
    stop_on_signal(state.closing())?;
    let sweeping = tokio::spawn(timer::run(state.clone(), cleanup_interval));
    server::serve(listener, router(state.clone()), limits, state.closing()).await;
    sweeping.await.context("the timer failed")?;
    tracing::info!(component = "coordinator", "stopped");
    Ok(())
}

/// The first SIGTERM or SIGINT begins the shutdown, the second one ends the process at once.
fn stop_on_signal(closing: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if closing.is_cancelled() {
                std::process::exit(1);
            }
            tracing::info!(component = "coordinator", "shutting down");
            closing.cancel();
        }
    });
    Ok(())
}

fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout().lock(), "{}", text.trim_end()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("cannot write the output"),
        _ => Ok(()),
    }
}

fn write_atomically(path: &Path, text: &str) -> std::io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".part");
    fs::write(&draft, text)?;
    fs::rename(&draft, path)
}

fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("cannot make {} (it must not exist yet)", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}
