//! A Redis with replicas, watched by three sentinels, on loopback: for failovers that are planned, and those that are not.

use std::{collections::HashMap, path::Path, process::Command, sync::Arc, time::Duration};

use futures_util::future::join_all;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisResult};
use tempfile::TempDir;

use crate::{
    namespace::Namespace,
    ports::free_port,
    process::Process,
    redis::{RedisServer, SERVER},
    wait::eventually,
};

/// What the sentinels call it.
const SERVICE: &str = "main";
const SENTINELS: usize = 3;
/// Seconds that its replicas may be behind before a master takes no more writes.
const LAG: &str = "3";
/// How long a master may be silent before a sentinel takes it for down: more than a busy machine is.
const DOWN_AFTER: Duration = Duration::from_secs(2);
/// For asking sentinels, which a busy machine may hold up.
const ANSWER: Duration = Duration::from_secs(5);

/// A master and its replicas. A master without a replica takes no writes.
#[derive(Debug)]
pub struct Replicas {
    nodes: Vec<RedisServer>,
    sentinels: Vec<Sentinel>,
}

#[derive(Debug)]
struct Sentinel {
    port: u16,
    process: Process,
    _folder: TempDir,
}

impl Replicas {
    /// Starts the two alone; returns when the replica is in step. The first is the master, and takes writes however far
    /// the replica is behind, so that a test can freeze that.
    pub async fn start() -> Self {
        Self::start_with_lag("600").await
    }

    async fn start_with_lag(seconds: &str) -> Self {
        let master = RedisServer::start_with(&options(seconds)).await;
        Self::of(master, 1, seconds).await
    }

    /// Starts the replicas of a master.
    async fn of(master: RedisServer, replicas: usize, seconds: &str) -> Self {
        let of = format!("127.0.0.1 {}", master.port());
        let mut nodes = vec![master];
        for _ in 0..replicas {
            nodes.push(RedisServer::start_with(&[&options(seconds)[..], &["--replicaof", &of]].concat()).await);
        }
        let all = Self { nodes, sentinels: Vec::new() };
        all.in_step(0).await;
        all
    }

    /// Starts the two with their sentinels; returns when all of them know each other. The master takes no writes if its
    /// replica is more than 3 s behind.
    pub async fn with_sentinels() -> Self {
        Self::start_with_lag(LAG).await.watched().await
    }

    /// The same with two replicas, and a master that can be parted from all others: it is inside that network, where the others
    /// are reached, too.
    pub async fn with_the_master_in(namespace: &Arc<Namespace>) -> Self {
        let master = RedisServer::start_inside(Arc::clone(namespace), &options(LAG)).await;
        let replicas = Self::of(master, 2, LAG).await.watched().await;
        for port in replicas.nodes[1..].iter().map(RedisServer::port) {
            namespace.forward(port);
        }
        for sentinel in &replicas.sentinels {
            namespace.forward(sentinel.port);
        }
        replicas
    }

    async fn watched(mut self) -> Self {
        let (master, replicas) = (self.nodes[0].port(), self.nodes.len() - 1);
        self.sentinels = (0..SENTINELS).map(|_| Sentinel::start(master)).collect();
        let known = self.sentinels.iter_mut().map(|sentinel| sentinel.knows_all(replicas));
        join_all(known).await;
        self
    }

    /// Its URL, `redis+sentinel://host:port,host:port,host:port/main`.
    #[must_use]
    pub fn url(&self) -> String {
        let addresses: Vec<_> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis+sentinel://{}/{SERVICE}", addresses.join(","))
    }

    /// The node with that number; the first master is 0.
    #[must_use]
    pub fn node(&self, number: usize) -> &RedisServer {
        &self.nodes[number]
    }

    /// The same, to kill or freeze it.
    pub fn node_mut(&mut self, number: usize) -> &mut RedisServer {
        &mut self.nodes[number]
    }

    /// Has the sentinels make the replica the master, as an operator would; returns when they have.
    pub async fn fail_over(&self) {
        eventually("the sentinels to begin a failover", async || {
            let begun: RedisResult<String> = self.sentinels[0].ask("FAILOVER").await;
            begun.ok()
        })
        .await;
        self.becomes_master(1).await;
    }

    /// Waits until all sentinels call this node the master.
    pub async fn becomes_master(&self, number: usize) {
        assert_eq!(self.another_master().await, number);
    }

    /// Waits until all sentinels call the same node the master, which is not the first; gives its number.
    pub async fn another_master(&self) -> usize {
        eventually("the sentinels to agree on another master", async || {
            let mut named = None;
            for sentinel in &self.sentinels {
                let (_, port): (String, u16) = sentinel.ask("GET-MASTER-ADDR-BY-NAME").await.ok()?;
                let number = self.nodes.iter().position(|node| node.port() == port)?;
                (number > 0 && named.is_none_or(|named| named == number)).then_some(())?;
                named = Some(number);
            }
            named
        })
        .await
    }

    /// Waits until another node is a replica of this one, and keeps up with it.
    pub async fn in_step(&self, master: usize) {
        eventually(format!("node {master} to have a replica that keeps up"), async || {
            let text = self.nodes[master].about_replication().await?;
            let has = |line: &str| text.lines().any(|told| told.trim() == line);
            let keeping_up = (1..self.nodes.len()).any(|n| has(&format!("min_slaves_good_slaves:{n}")));
            (has("role:master") && keeping_up && text.contains("state=online")).then_some(())
        })
        .await;
    }

    /// Waits until this node has become a replica that is in step.
    pub async fn becomes_replica(&self, number: usize) {
        eventually(format!("node {number} to be a replica"), async || {
            let text = self.nodes[number].about_replication().await?;
            (text.contains("role:slave") && text.contains("master_link_status:up")).then_some(())
        })
        .await;
    }
}

/// What both kinds of nodes are started with; a master takes no writes whose replicas are all so far behind.
fn options(lag: &str) -> Vec<&str> {
    // A master that comes back empty before the sentinels have moved on would be taken for a pool without keys.
    let kept = ["--appendonly", "yes"];
    let at_once = ["--repl-diskless-sync-delay", "0"];
    let few = ["--min-replicas-to-write", "1", "--min-replicas-max-lag", lag];
    [&few[..], &kept, &at_once].concat()
}

impl Sentinel {
    fn start(master: u16) -> Self {
        let (port, folder) = (free_port(), TempDir::with_prefix("titan-sentinel-").unwrap());
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, settings(port, master, folder.path())).unwrap();
        let mut command = Command::new(&*SERVER);
        command.arg(&file).arg("--sentinel");
        let process = Process::spawn("sentinel", &mut command, &folder.path().join("sentinel.log"));
        Self { port, process, _folder: folder }
    }

    /// Waits until it knows the replicas and the other sentinels.
    async fn knows_all(&mut self, replicas: usize) {
        eventually(format!("sentinel {} to know all others", self.port), async || {
            assert!(self.process.is_running(), "it ended by itself:\n{}", self.process.log());
            let about: HashMap<String, String> = self.ask("MASTER").await.ok()?;
            let is = |name: &str, value: usize| about.get(name).is_some_and(|told| *told == value.to_string());
            (is("num-slaves", replicas) && is("num-other-sentinels", SENTINELS - 1)).then_some(())
        })
        .await;
    }

    async fn ask<T: FromRedisValue>(&self, what: &str) -> RedisResult<T> {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER));
        let client = Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        redis::cmd("SENTINEL").arg(what).arg(SERVICE).query_async(&mut connection).await
    }
}

/// The settings of a sentinel, which it rewrites as it learns.
fn settings(port: u16, master: u16, folder: &Path) -> String {
    let (down_ms, folder) = (DOWN_AFTER.as_millis(), folder.display());
    format!(
        "port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor {SERVICE} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {SERVICE} {down_ms}\nsentinel failover-timeout {SERVICE} 10000\n"
    )
}
