//! A coordinator as a process: the program that ships, on a free port of loopback.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::LazyLock,
    time::Duration,
};

use nix::sys::signal::Signal;
use reqwest::Method;
use titan_api::{
    client::Client,
    credentials::{CreateJoinToken, CreateKey, CreatedJoinToken, CreatedKey, Scope},
    health::{Health, Readiness},
};

use crate::{
    binaries::program,
    ports::free_port,
    process::{Process, clean},
    redis::RESPONSE_TIMEOUT,
    wait::eventually,
};

/// How long a shutdown may take: requests that are under way end first.
const SHUTDOWN: Duration = Duration::from_mins(1);

/// Making RSA keys takes a while, so all coordinators of a test run share theirs, as copies of one installation do.
static SIGNING_KEY: LazyLock<String> = LazyLock::new(|| {
    let output = clean(&mut Command::new(program("titan-coordinator"))).arg("keygen").output().unwrap();
    assert!(output.status.success(), "keygen failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
});

/// How to start a coordinator. What is not set has its usual value, but `REDIS_TIMEOUT` is long: machines that run tests
/// are busy.
#[derive(Debug, Clone)]
pub struct CoordinatorOptions {
    /// `REDIS_URL`.
    pub redis_url: String,
    /// `ADMIN_TOKEN`.
    pub admin_token: String,
    /// Other settings by the names of their environment variables.
    pub settings: BTreeMap<String, String>,
}

/// A coordinator. Dropping it kills it.
#[derive(Debug)]
pub struct Coordinator {
    process: Process,
    options: CoordinatorOptions,
    port: u16,
    name: String,
    log: PathBuf,
}

impl Coordinator {
    /// Starts one and waits until it answers. `name` is for its log, which goes to `folder`.
    pub async fn start(name: &str, folder: &Path, options: CoordinatorOptions) -> Self {
        let log = folder.join(format!("{name}.log"));
        let port = free_port();
        let process = spawn(name, port, &options, &log);
        let mut coordinator = Self { process, options, port, name: name.to_owned(), log };
        coordinator.becomes_healthy().await;
        coordinator
    }

    /// Its URL, `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A client without credentials.
    #[must_use]
    pub fn anyone(&self) -> Client {
        client(&self.url())
    }

    /// A client with the administrator's token.
    #[must_use]
    pub fn admin(&self) -> Client {
        self.anyone().with_bearer(self.options.admin_token.clone())
    }

    /// The administrator's token.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        &self.options.admin_token
    }

    /// A client with a new API key of the default pool that may do what clients may.
    pub async fn client(&self) -> Client {
        self.anyone().with_bearer(self.api_key().await)
    }

    /// Such a key.
    pub async fn api_key(&self) -> String {
        let key = CreateKey::new("a test", Scope::ALL.to_vec());
        let created: CreatedKey = self.admin().post("/api/v1/keys", &key).await.unwrap();
        created.key
    }

    /// A new join token of the default pool, good for many agents.
    pub async fn join_token(&self) -> String {
        let wanted = CreateJoinToken { uses: 1_000, ..CreateJoinToken::default() };
        let created: CreatedJoinToken = self.admin().post("/api/v1/join-tokens", &wanted).await.unwrap();
        created.token
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// How many calls wait for something to happen, as its figures say; none while it gives no answer.
    pub async fn waiting(&self) -> Option<usize> {
        let admin = self.admin();
        let page = admin.send(admin.request(Method::GET, "/metrics")).await.ok()?.text().await.ok()?;
        page.lines().find_map(|line| line.strip_prefix("titan_http_requests_waiting "))?.parse().ok()
    }

    /// The process, to freeze it or look at its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port, after [`Coordinator::kill`] or [`Coordinator::stop`].
    pub async fn restart(&mut self) {
        self.kill();
        self.process = spawn(&self.name, self.port, &self.options, &self.log);
        self.becomes_healthy().await;
    }

    /// Asks it to shut down (SIGTERM) and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        self.process.signal(Signal::SIGTERM);
        self.process.exited(SHUTDOWN).await
    }

    /// Waits until it finds its Redis fit for work.
    pub async fn becomes_ready(&self) {
        let client = self.anyone();
        eventually(format!("{} to be ready", self.name), async || {
            client.get::<Readiness>("/api/v1/ready").await.ok().filter(|answer| answer.ready)
        })
        .await;
    }

    async fn becomes_healthy(&mut self) {
        let client = self.anyone();
        let process = &mut self.process;
        eventually(format!("{} to answer", self.name), async || {
            assert!(process.is_running(), "the coordinator ended by itself");
            client.get::<Health>("/api/v1/health").await.ok()
        })
        .await;
    }
}

/// A client for a URL, with connections of its own.
#[must_use]
pub fn client(url: &str) -> Client {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().unwrap();
    Client::new(http, url)
}

fn spawn(name: &str, port: u16, options: &CoordinatorOptions, log: &Path) -> Process {
    let mut command = Command::new(program("titan-coordinator"));
    clean(&mut command)
        .env("REDIS_URL", &options.redis_url)
        .env("ADMIN_TOKEN", &options.admin_token)
        .env("SIGNING_KEY", &*SIGNING_KEY)
        .env("COORDINATOR_HTTP_BIND", "127.0.0.1")
        .env("COORDINATOR_HTTP_PORT", port.to_string())
        .env("REDIS_TIMEOUT", format!("{}s", RESPONSE_TIMEOUT.as_secs()))
        .envs(&options.settings);
    Process::spawn(name, &mut command, log)
}
