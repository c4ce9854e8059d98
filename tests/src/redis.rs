//! A private Redis (or Valkey) server: a real one, on a free port of loopback, its files in a temporary folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, LazyLock},
    time::Duration,
};

use redis::{AsyncConnectionConfig, Client, aio::MultiplexedConnection};
use tempfile::TempDir;
use titan_lua::{PoolSettings, Store, StoreOptions};

use crate::{
    binaries::workspace, commands::CommandCounts, namespace::Namespace, ports::free_port, process::Process,
    snapshot::Snapshot, wait::eventually,
};

/// The locale of a server that has one, and where that lies in its folder.
const LOCALE: &str = "en_US.UTF-8";

/// What valgrind writes its counts to; with a number behind a dot while the server runs.
const COUNTS: &str = "counts";

/// Longer than any command takes, even on a busy machine, and shorter than a test's patience.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

/// A store that waits for a Redis on a busy machine. One of the usual patience is for tests in which Redis is away.
#[must_use]
pub fn patient_store(url: &str, settings: PoolSettings) -> Store {
    let options = StoreOptions { response_timeout: RESPONSE_TIMEOUT, ..StoreOptions::default() };
    Store::with(url, settings, options).unwrap()
}

/// How a server is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Plain,
    /// It compares text as the locale in its folder says.
    InEnglish,
    /// valgrind counts its instructions.
    Counted,
}

/// A server. Dropping it kills it and removes its files.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    options: Vec<String>,
    manner: Manner,
    process: Process,
    folder: TempDir,
}

impl RedisServer {
    /// Starts one that keeps everything in memory only.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one that writes an append-only file, so that `kill -9` loses nothing that was acknowledged.
    ///
    /// With `everysec` that would not be so: while a flush to disk is under way (long, on a busy disk), Redis answers
    /// writes that are in its memory alone, for up to two seconds.
    pub async fn start_durable() -> Self {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await
    }

    /// Starts one with further options, written as on the command line of `redis-server`.
    pub async fn start_with(options: &[&str]) -> Self {
        Self::start_in(TempDir::with_prefix("titan-redis-").unwrap(), options, Manner::Plain).await
    }

    /// Starts one in a network of its own, whence others reach it on the same port until they are parted.
    pub async fn start_inside(namespace: Arc<Namespace>, options: &[&str]) -> Self {
        let (port, folder) = (namespace.port_of_both(), TempDir::with_prefix("titan-redis-").unwrap());
        let options: Vec<_> = options.iter().map(|&o| o.to_owned()).collect();
        let (path, given) = (folder.path().to_owned(), options.clone());
        let process = namespace.run(move || spawn(port, &path, &given, Manner::Plain));
        let mut server = Self { port, options, manner: Manner::Plain, process, folder };
        assert!(server.becomes_ready().await, "redis-server ended by itself:\n{}", server.process.log());
        server
    }

    /// Whether the server was built with TLS.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    pub fn speaks_tls() -> bool {
        // It complains about the first setting that it doesn't know.
        let told = Command::new(&*SERVER).args(["--tls-port", "0", "--no-such-setting", "1"]).output().unwrap();
        !String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).contains("'tls-port")
    }

    /// Whether there is what [`RedisServer::start_counted`] needs: valgrind.
    #[must_use]
    pub fn can_be_counted() -> bool {
        Command::new("callgrind_control").arg("--version").output().is_ok_and(|found| found.status.success())
    }

    /// Starts one whose instructions are counted, fifty times slower than others. It does its own chores as seldom as it can.
    pub async fn start_counted(options: &[&str]) -> Self {
        let options = [&["--hz", "1", "--dynamic-hz", "no"], options].concat();
        Self::start_in(TempDir::with_prefix("titan-redis-").unwrap(), &options, Manner::Counted).await
    }

    /// How many instructions a counted one has run since the last call, or its start. Where they were run is left in the
    /// file that `TITAN_BENCH_COUNTS` names, for `callgrind_annotate`.
    #[must_use]
    pub fn instructions(&self) -> u64 {
        let dump = Command::new("callgrind_control").arg("--dump").arg(self.pid().to_string()).output().unwrap();
        assert!(dump.status.success(), "callgrind does not answer: {dump:?}");
        let mut files = fs::read_dir(self.folder.path()).unwrap().map(|file| file.unwrap().path());
        let is_dump =
            |path: &PathBuf| path.file_stem().is_some_and(|stem| stem == COUNTS) && path.extension().is_some();
        let file = files.find(is_dump).expect("it has written what it has counted");
        let counts = fs::read_to_string(&file).unwrap();
        fs::remove_file(file).unwrap();
        if let Some(kept) = std::env::var_os("TITAN_BENCH_COUNTS") {
            fs::write(&kept, &counts)
                .unwrap_or_else(|e| panic!("TITAN_BENCH_COUNTS={} can't be written: {e}", kept.display()));
        }
        counts.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap().trim().parse().unwrap()
    }

    /// Starts one that compares text as English dictionaries do, `a` before `B`; none where no such locale can be made.
    pub async fn start_in_english() -> Option<Self> {
        let folder = TempDir::with_prefix("titan-redis-").unwrap();
        let mut make = Command::new("localedef");
        make.args(["-i", "en_US", "-f", "UTF-8", "--no-archive"]).arg(folder.path().join(LOCALE));
        if !make.output().is_ok_and(|made| made.status.success()) {
            return None;
        }
        Some(Self::start_in(folder, &[], Manner::InEnglish).await)
    }

    async fn start_in(mut folder: TempDir, options: &[&str], manner: Manner) -> Self {
        let options: Vec<_> = options.iter().map(|&o| o.to_owned()).collect();
        loop {
            let port = free_port();
            let process = spawn(port, folder.path(), &options, manner);
            let mut server = Self { port, options: options.clone(), manner, process, folder };
            if server.becomes_ready().await {
                return server;
            }
            // Another process took the port since it was looked at.
            let log = server.process.log();
            assert!(log.contains("Address already in use"), "redis-server ended by itself:\n{log}");
            folder = server.folder;
        }
    }

    /// Its URL, `redis://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port on which it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// A connection of its own.
    pub async fn connection(&self) -> MultiplexedConnection {
        let url = self.url();
        connect(&url).await.unwrap_or_else(|e| panic!("{url} can't be reached: {e}"))
    }

    /// Every key with its value.
    pub async fn snapshot(&self) -> Snapshot {
        Snapshot::take(&mut self.connection().await).await
    }

    /// How many commands it has run.
    pub async fn command_counts(&self) -> CommandCounts {
        CommandCounts::read(&mut self.connection().await).await
    }

    /// What it says of its replicas or its master; none while it gives no answer.
    pub(crate) async fn about_replication(&self) -> Option<String> {
        let mut connection = connect(&self.url()).await.ok()?;
        redis::cmd("INFO").arg("replication").query_async(&mut connection).await.ok()
    }

    /// Seconds of CPU time that it has used, its own and the kernel's for it.
    pub async fn cpu_seconds(&self) -> f64 {
        let info: String = redis::cmd("INFO").arg("cpu").query_async(&mut self.connection().await).await.unwrap();
        let of = |name: &str| -> f64 {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.expect("INFO cpu tells it").trim().parse().unwrap()
        };
        of("used_cpu_user") + of("used_cpu_sys")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port and files, after [`RedisServer::kill`]; returns when it has loaded them.
    pub async fn restart(&mut self) {
        self.kill();
        self.process = spawn(self.port, self.folder.path(), &self.options, self.manner);
        assert!(self.becomes_ready().await, "redis-server did not start again:\n{}", self.process.log());
    }

    /// Freezes it: it accepts connections and answers nothing.
    pub fn pause(&mut self) {
        self.process.pause();
    }

    /// Lets it go on.
    pub fn resume(&mut self) {
        self.process.resume();
    }

    /// Waits until it answers; `false` if it ended instead.
    async fn becomes_ready(&mut self) -> bool {
        let url = self.url();
        let process = &mut self.process;
        eventually(format!("redis-server at {url}"), async || {
            if !process.is_running() {
                return Some(false);
            }
            let mut connection = connect(&url).await.ok()?;
            let pong: redis::RedisResult<String> = redis::cmd("PING").query_async(&mut connection).await;
            pong.is_ok().then_some(true)
        })
        .await
    }
}

async fn connect(url: &str) -> redis::RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(RESPONSE_TIMEOUT));
    Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
}

fn spawn(port: u16, folder: &Path, options: &[String], manner: Manner) -> Process {
    let mut command = Command::new(if manner == Manner::Counted { Path::new("valgrind") } else { &SERVER });
    match manner {
        Manner::Plain => {}
        Manner::InEnglish => {
            command.env("LOCPATH", folder).env("LC_ALL", LOCALE);
        }
        Manner::Counted => {
            let counts = folder.join(COUNTS);
            command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", counts.display())).arg(&*SERVER);
        }
    }
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no", "--save", ""]);
    command.args(["--enable-debug-command", "local"]).arg("--dir").arg(folder).args(options);
    Process::spawn("redis-server", &mut command, &folder.join("redis.log"))
}

/// The server's program, looked up as `titan dev` does.
pub(crate) static SERVER: LazyLock<PathBuf> = LazyLock::new(|| {
    let named = std::env::var_os("TITAN_REDIS_BIN").map(PathBuf::from);
    let fetched = workspace().join(".tools/valkey-server");
    let candidates = named.into_iter().chain(["valkey-server".into(), "redis-server".into(), fetched]);
    candidates
        .into_iter()
        .find(|path| major_version(path).is_some_and(|version| version >= 7))
        .expect("no Redis or Valkey server of version 7 or newer: run `make setup`")
});

/// Reads the 7 of `Redis server v=7.0.15 sha=…`.
fn major_version(server: &Path) -> Option<u32> {
    let output = Command::new(server).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_once(" v=")?.1.split('.').next()?.parse().ok()
}
