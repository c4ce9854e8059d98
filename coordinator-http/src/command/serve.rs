//! Serving: from the settings to the listening socket, and from the first signal to the end.

use std::{env, fs, net::SocketAddr, path::Path};

use anyhow::Context;
use nix::unistd::Uid;
use titan_api::secret_file::exposed;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::RunArgs,
    logging,
    routes::{metrics_router, router},
    server::{self, Limits},
    state::AppState,
    timer,
};

/// Connections at once to the listener for figures.
const METRICS_CONNECTIONS: usize = 64;

/// Serves as the arguments say, until a signal.
pub(crate) async fn run(args: &RunArgs) -> anyhow::Result<()> {
    logging::init(args)?;
    let settings = args.check(|name| env::var(name).ok())?;
    warn_of_open_secrets(args);
    let cleanup_interval = settings.cleanup_interval;
    let state = AppState::new(settings).context("REDIS_URL is no URL of Redis")?;
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
    let metrics = serve_metrics(args.metrics_listen, &state).await?;
    let limits = Limits::default();
    server::raise_open_files(limits.connections);
    stop_on_signal(state.closing())?;
    let sweeping = tokio::spawn(timer::run(state.clone(), cleanup_interval));
    server::serve(listener, router(state.clone()), limits, state.closing()).await;
    sweeping.await.context("the timer failed")?;
    metrics.await.context("the listener of METRICS_LISTEN failed")?;
    state.flush_spans().await;
    tracing::info!(component = "coordinator", "stopped");
    Ok(())
}

fn warn_of_open_secrets(args: &RunArgs) {
    let files = [
        ("ADMIN_TOKEN_FILE", &args.admin_token_file),
        ("SIGNING_KEY_FILE", &args.signing_key_file),
        ("REDIS_URL_FILE", &args.redis_url_file),
    ];
    for (setting, file) in files {
        let exposed = file.as_deref().and_then(|file| exposed(file, Uid::effective().as_raw()));
        if let Some(warning) = exposed {
            tracing::warn!(component = "coordinator", setting, "{warning}");
        }
    }
}

/// Serves the figures of this copy and of all pools where they are wanted, until the coordinator shuts down.
async fn serve_metrics(wanted: Option<SocketAddr>, state: &AppState) -> anyhow::Result<JoinHandle<()>> {
    let Some(wanted) = wanted else { return Ok(tokio::spawn(async {})) };
    let listener = TcpListener::bind(wanted).await;
    let listener =
        listener.with_context(|| format!("cannot listen on {wanted}: set METRICS_LISTEN to what is free"))?;
    tracing::info!(component = "coordinator", address = %listener.local_addr()?, "serving /metrics");
    let limits = Limits { connections: METRICS_CONNECTIONS, ..Limits::default() };
    Ok(tokio::spawn(server::serve(listener, metrics_router(state.clone()), limits, state.closing())))
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

fn write_atomically(path: &Path, text: &str) -> std::io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".part");
    fs::write(&draft, text)?;
    fs::rename(&draft, path)
}
