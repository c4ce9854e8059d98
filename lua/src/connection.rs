//! The connection that carries all commands of a process: multiplexed, lazily made, re-made when it breaks. What must
//! wait for a replica has connections of its own.

mod replicated;
mod sentinel;
mod target;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, ServerErrorKind, Value,
    aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection},
    cluster_async::ClusterConnection,
    cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
};
use tokio::sync::OnceCell;

use self::{replicated::Replicated, sentinel::Sentinels};
pub(crate) use self::{
    replicated::Work,
    target::{Place, Target},
};
use crate::{
    Durability, StoreError,
    latency::{self, Histogram},
    library::Loaded,
};

/// A command that takes longer is usually given up, so that a request is answered within a second.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_millis(700);
/// After so many time-outs in a row the connection is replaced: its other end may be gone without a word, and then
/// nothing else ends it while commands go on being written to it.
const TIMEOUTS_IN_A_ROW: u32 = 3;
/// A master that has too few replicas may be one that the others have left behind. The sentinels are asked again, but a
/// connection is kept for so long, since more often a replica is away.
const LONELY: Duration = Duration::from_secs(2);
/// A connection to a node that takes no writes is kept for so long at least: until then nobody may know its successor.
const DEMOTED: Duration = Duration::from_millis(250);

/// The shared connection. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Connection {
    target: Target,
    link: Arc<Mutex<Arc<Link>>>,
    told: Arc<Told>,
    loaded: Arc<Loaded>,
    /// What waits for a replica goes this way, if anything does.
    replicated: Option<Arc<Replicated>>,
}

/// Where a script can be run.
pub(crate) trait Node: Send {
    /// Sends a command that names its keys.
    fn send(&mut self, cmd: &Cmd) -> impl Future<Output = Result<Value, RedisError>> + Send;

    /// Sends a command that names none to where this one is.
    fn send_to(&mut self, key: &str, cmd: &Cmd) -> impl Future<Output = Result<Value, RedisError>> + Send;
}

impl Node for &Connection {
    async fn send(&mut self, cmd: &Cmd) -> Result<Value, RedisError> {
        Connection::send(self, cmd).await
    }

    async fn send_to(&mut self, key: &str, cmd: &Cmd) -> Result<Value, RedisError> {
        self.link().send_to(&self.target, key, cmd).await
    }
}

/// What is told of the commands of this process.
#[derive(Default)]
pub(crate) struct Told {
    /// How long they took, those that failed included.
    pub(crate) latency: Histogram,
    /// How many got no answer.
    pub(crate) unanswered: AtomicU64,
}

/// A connection until it is replaced by another.
struct Link {
    node: OnceCell<ConnectionManager>,
    /// Behind sentinels. It does not connect again by itself: whoever stands at that address then may be no master any more,
    /// and one that was killed and is back takes itself for one until the sentinels tell it.
    master: OnceCell<MultiplexedConnection>,
    cluster: OnceCell<ClusterConnection>,
    timeouts: AtomicU32,
    born: Instant,
}

impl Default for Link {
    fn default() -> Self {
        let (node, master, cluster) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { node, master, cluster, timeouts: AtomicU32::new(0), born: Instant::now() }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("cluster", &self.target.is_cluster()).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(target: Target, durability: Durability) -> Self {
        let loaded = Arc::<Loaded>::default();
        let waits = durability == Durability::Replicated;
        let replicated = waits.then(|| Arc::new(Replicated::new(target.clone(), loaded.clone())));
        Self { target, link: Arc::default(), told: Arc::default(), loaded, replicated }
    }

    /// Whether something may have to wait for a replica.
    pub(crate) fn waits_for_replicas(&self) -> bool {
        self.replicated.is_some()
    }

    /// How long a command may take, the wait for a replica included.
    pub(crate) fn patience(&self) -> Duration {
        let longer = if self.waits_for_replicas() { self.target.connect_timeout() } else { Duration::ZERO };
        self.target.response_timeout() + longer
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// What is told of the commands that were sent.
    pub(crate) fn told(&self) -> &Told {
        &self.told
    }

    /// What is known of the library at its Redis.
    pub(crate) fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Sends a command. One that met a connection which had broken while idle, or a node that is master no more, is sent
    /// once more: every operation of this crate may be repeated.
    pub(crate) async fn send(&self, cmd: &Cmd) -> Result<Value, RedisError> {
        match self.send_once(cmd).await {
            Err(e) if e.is_connection_dropped() || is_read_only(&e) => self.send_once(cmd).await,
            other => other,
        }
    }

    async fn send_once(&self, cmd: &Cmd) -> Result<Value, RedisError> {
        let link = self.link();
        let reply = self.timed(link.send(&self.target, cmd)).await;
        match &reply {
            Err(e) if e.is_timeout() => {
                if link.timeouts.fetch_add(1, Ordering::Relaxed) + 1 >= TIMEOUTS_IN_A_ROW {
                    tracing::warn!(component = "store", "Redis does not answer on its connection: trying a new one");
                    self.replace(&link);
                }
            }
            Err(e) if self.is_doubtful(e, link.born.elapsed()) => self.replace(&link),
            _ => link.timeouts.store(0, Ordering::Relaxed),
        }
        reply
    }

    /// Does `work` where `key` is. If the store waits for replicas and `counts` says of the reply that this is worth it,
    /// tells whether one has it; else it is as good as had.
    pub(crate) async fn send_replicated(
        &self,
        key: &str,
        work: Work<'_>,
        counts: impl Fn(&Value) -> bool,
    ) -> Result<(Value, bool), RedisError> {
        match (&self.replicated, work) {
            (Some(replicated), work) => self.timed(Box::pin(replicated.run(key, work, counts))).await,
            (None, Work::Script(script, keys, args)) => Ok((script.run(self, keys, args).await?, true)),
            (None, Work::Command(cmd)) => Ok((self.send(cmd).await?, true)),
        }
    }

    async fn timed<T>(&self, sending: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
        let begun = Instant::now();
        let reply = sending.await;
        let took = begun.elapsed();
        self.told.latency.add(took);
        latency::note(took);
        if reply.as_ref().is_err_and(|e| e.code().is_none()) {
            self.told.unanswered.fetch_add(1, Ordering::Relaxed);
        }
        reply
    }

    /// Whether a failure is reason to look anew where Redis is.
    fn is_doubtful(&self, e: &RedisError, age: Duration) -> bool {
        let by_sentinels = matches!(self.target.place(), Place::Sentinel(_));
        (is_read_only(e) && age > DEMOTED)
            || by_sentinels && (e.kind() == ErrorKind::Io || e.code() == Some("NOREPLICAS") && age > LONELY)
    }

    fn link(&self) -> Arc<Link> {
        Arc::clone(&self.link.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next command gets a new connection, if no other has it already.
    fn replace(&self, link: &Arc<Link>) {
        let mut current = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, link) {
            *current = Arc::default();
        }
    }

    /// Sends a command to the node of a cluster that holds a key, and reads its reply.
    pub(crate) async fn query_at<T: redis::FromRedisValue>(&self, key: &str, cmd: &Cmd) -> Result<T, StoreError> {
        let value = self.link().send_to(&self.target, key, cmd).await?;
        redis::from_redis_value(value).map_err(|e| StoreError::Corrupt(e.to_string()))
    }

    /// Sends a command and reads its reply.
    pub(crate) async fn query<T: redis::FromRedisValue>(&self, cmd: &Cmd) -> Result<T, StoreError> {
        let value = self.send(cmd).await?;
        redis::from_redis_value(value).map_err(|e| StoreError::Corrupt(e.to_string()))
    }
}

impl Link {
    async fn send(&self, target: &Target, cmd: &Cmd) -> Result<Value, RedisError> {
        match target.place() {
            Place::Node(client) => {
                let connection = self.node.get_or_try_init(|| async { manager(target, client) }).await?;
                cmd.query_async(&mut connection.clone()).await
            }
            Place::Sentinel(sentinels) => {
                let connect = Box::pin(self.master.get_or_try_init(|| to_master(target, sentinels)));
                cmd.query_async(&mut in_time(target, connect).await?.clone()).await
            }
            Place::Cluster(nodes) => cmd.query_async(&mut self.cluster(target, nodes).await?).await,
        }
    }

    /// Sends a command that names no key to where this one is.
    async fn send_to(&self, target: &Target, key: &str, cmd: &Cmd) -> Result<Value, RedisError> {
        let Place::Cluster(nodes) = target.place() else { return self.send(target, cmd).await };
        let route = SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
        self.cluster(target, nodes).await?.route_command(cmd.clone(), RoutingInfo::SingleNode(route)).await
    }

    async fn cluster(&self, target: &Target, nodes: &[String]) -> Result<ClusterConnection, RedisError> {
        in_time(target, Box::pin(self.cluster.get_or_try_init(|| cluster(target, nodes)))).await.cloned()
    }
}

async fn in_time<T>(target: &Target, work: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    let bounded = tokio::time::timeout(target.response_timeout(), work).await;
    bounded.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}

/// Whether the node takes no writes, as a master does that was demoted.
fn is_read_only(e: &RedisError) -> bool {
    e.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

fn manager(target: &Target, client: &Client) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_min_delay(Duration::from_millis(50))
        .set_max_delay(Duration::from_millis(200))
        .set_connection_timeout(Some(target.connect_timeout()))
        .set_response_timeout(Some(target.response_timeout()));
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

async fn to_master(target: &Target, sentinels: &Sentinels) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(target.connect_timeout()))
        .set_response_timeout(Some(target.response_timeout()));
    let master = sentinels.master(target.connect_timeout()).await?;
    Client::open(master)?.get_multiplexed_async_connection_with_config(&config).await
}

async fn cluster(target: &Target, nodes: &[String]) -> Result<ClusterConnection, RedisError> {
    target.cluster_builder(nodes).build()?.get_async_connection().await
}
