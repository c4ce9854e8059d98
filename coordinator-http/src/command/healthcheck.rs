//! `healthcheck`: for containers whose image holds no other HTTP client.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What to ask.
#[derive(Debug, Clone, clap::Args)]
pub struct HealthcheckArgs {
    /// Port of the coordinator on this machine
    #[arg(long, alias = "port", env = "COORDINATOR_HTTP_PORT", default_value_t = 8080)]
    pub coordinator_http_port: u16,

    /// Ask whether it is ready (Redis included), not only whether it lives
    #[arg(long)]
    pub ready: bool,
}

/// Fails unless the coordinator answers 200.
pub(crate) async fn run(args: &HealthcheckArgs) -> anyhow::Result<()> {
    let (port, path) = (args.coordinator_http_port, if args.ready { "/api/v1/ready" } else { "/api/v1/health" });
    let asked = timeout(PATIENCE, status_of(port, path)).await;
    let status = asked.with_context(|| format!("no answer on port {port} within {PATIENCE:?}"))??;
    if status != "200" {
        bail!("GET {path} on port {port} answered {status}");
    }
    Ok(())
}

async fn status_of(port: u16, path: &str) -> anyhow::Result<String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await;
    let mut stream = stream.with_context(|| format!("nothing listens on port {port}"))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut reply = Vec::new();
    stream.take(64 * 1_024).read_to_end(&mut reply).await?;
    let reply = String::from_utf8_lossy(&reply);
    Ok(reply.split_whitespace().nth(1).unwrap_or("with nothing").to_owned())
}
