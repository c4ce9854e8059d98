//! The coordinator and the agents as children, and what has to be made for them: keys and tokens.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use titan_api::{
    client::{Client, ClientError},
    credentials::{CreateJoinToken, CreateKey, CreatedJoinToken, Scope},
};
use tokio::process::Command;

use super::{child::Child, folder::DataFolder, secrets};
use crate::{
    files::{dev::ADMIN_TOKEN, write_private},
    session::connect,
};

/// How long a join token is good for; the agents use it at once.
const JOIN_TOKEN_LIFE: Duration = Duration::from_mins(5);

/// How long an answer of Redis may take.
const REDIS_TIMEOUT: &str = "REDIS_TIMEOUT";

/// Starts a coordinator on a port of 127.0.0.1, 0 for any. Once it listens it writes its address to the file.
pub(super) fn coordinator(folder: &DataFolder, redis_url: &str, port: u16) -> anyhow::Result<(Child, PathBuf)> {
    let address_file = folder.path().join("coordinator-address");
    if address_file.exists() {
        std::fs::remove_file(&address_file).context("the address of an earlier run cannot be removed")?;
    }
    let mut command = titan()?;
    command
        .args(["coordinator", "serve"])
        .env("REDIS_URL", redis_url)
        .env("COORDINATOR_HTTP_PORT", port.to_string())
        .env("COORDINATOR_HTTP_BIND", "127.0.0.1")
        .env("PORT_FILE", &address_file)
        .env("ADMIN_TOKEN", admin_token(folder)?)
        .env("SIGNING_KEY_FILE", signing_keys(folder)?)
        .env("LOG_FORMAT", "text")
        .env("NO_COLOR", "1");
    if std::env::var_os(REDIS_TIMEOUT).is_none() {
        // One person's machine may be busy with a build; to be told 503 then helps nobody.
        command.env(REDIS_TIMEOUT, "10s");
    }
    Ok((Child::start("coordinator", command, folder.log("coordinator")?)?, address_file))
}

/// Starts an agent that takes process jobs, and serves the models of these backends (`KIND=URL`).
pub(super) fn agent(
    folder: &DataFolder,
    url: &str,
    number: u16,
    join_token: &str,
    backends: &[String],
) -> anyhow::Result<Child> {
    let name = format!("dev-{number}");
    let mut command = titan()?;
    command
        .args(["agent", "run", "--coordinator", url, "--node-id", &name, "--allow-jobs", "--drain-grace", "5s"])
        .arg("--labels")
        .arg(format!("dev={number}"))
        .arg("--state-dir")
        .arg(folder.subfolder(&format!("agents/{name}"))?)
        .args(backends.iter().flat_map(|backend| ["--backend", backend]))
        .env("TITAN_JOIN_TOKEN", join_token)
        // There may be many, and an agent of this machine's own.
        .env("TITAN_LISTEN", "off")
        .env("LOG_FORMAT", "text");
    if runs_as_root() {
        command.arg("--allow-root-jobs");
    }
    Child::start(format!("agent {name}"), command, folder.log(&name)?)
}

/// Whether jobs would run as root, which agents refuse unless they are told otherwise.
pub(super) fn runs_as_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// This very program, told to end when we do.
fn titan() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("the path of this program is unknown")?);
    command.arg("--exit-with-parent");
    Ok(command)
}

fn admin_token(folder: &DataFolder) -> anyhow::Result<String> {
    secrets::kept(&folder.path().join(ADMIN_TOKEN), secrets::random)
}

/// The file with the keys that sign credentials; made on the first start.
fn signing_keys(folder: &DataFolder) -> anyhow::Result<PathBuf> {
    let file = folder.path().join("signing-keys.pem");
    secrets::kept(&file, || {
        eprintln!("making signing keys (once)");
        titan_coordinator::generate_signing_keys()
    })?;
    Ok(file)
}

/// The administrator's side of the coordinator.
#[derive(Debug)]
pub(super) struct Admin {
    /// A client with the admin token.
    pub(super) client: Client,
    url: String,
}

impl Admin {
    /// Nothing is called yet.
    pub(super) fn new(folder: &DataFolder, url: &str) -> anyhow::Result<Self> {
        let client = connect(url)?.with_bearer(admin_token(folder)?);
        Ok(Self { client, url: url.to_owned() })
    }

    /// Makes a token with which that many agents can join.
    pub(super) async fn join_token(&self, uses: u32) -> anyhow::Result<CreatedJoinToken> {
        let expires_in_ms = u64::try_from(JOIN_TOKEN_LIFE.as_millis())?;
        let token = self.client.create_join_token(&CreateJoinToken { uses, expires_in_ms }).await;
        token.context("no join token can be made")
    }

    /// Removes it, whether it was used up or the agents had joined before.
    pub(super) async fn remove_join_token(&self, token: &CreatedJoinToken) {
        // One that stays expires by itself.
        let _ = self.client.delete_join_token(&token.record.id).await;
    }

    /// The key of the data folder if it is still good, else a new one with all scopes.
    pub(super) async fn api_key(&self, folder: &DataFolder) -> anyhow::Result<String> {
        let file = folder.path().join("api-key");
        if let Some(key) = secrets::read(&file)?
            && self.is_good(&key).await?
        {
            return Ok(key);
        }
        let wanted = CreateKey::new("titan dev", Scope::ALL.to_vec());
        let created = self.client.create_key(&wanted).await.context("no API key can be made")?;
        write_private(&file, created.key.as_bytes())?;
        Ok(created.key)
    }

    async fn is_good(&self, key: &str) -> anyhow::Result<bool> {
        match connect(&self.url)?.with_bearer(key).status(false).await {
            Ok(_) => Ok(true),
            Err(ClientError::Refused { problem, .. }) if matches!(problem.status, 401 | 403) => Ok(false),
            Err(error) => Err(error).context("the API key of the data folder cannot be tried"),
        }
    }
}
