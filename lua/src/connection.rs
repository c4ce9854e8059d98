//! The connection that carries all commands of a process: multiplexed, lazily made, re-made when it breaks.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{
    Client, Cmd, IntoConnectionInfo, ProtocolVersion, RedisError, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use tokio::sync::OnceCell;

use crate::{
    StoreError,
    latency::{self, Histogram},
};

/// A command that takes longer is usually given up, so that a request is answered within a second.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_millis(700);
/// A peer that acknowledges nothing for this long is taken for gone by the system.
const SILENCE: Duration = Duration::from_secs(5);
/// After so many time-outs in a row the connection is replaced: its other end may be gone without a word, and then
/// nothing else ends it while commands go on being written to it.
const TIMEOUTS_IN_A_ROW: u32 = 3;

/// Where Redis is, and how long to wait for it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    place: Place,
    response_timeout: Duration,
}

/// Where Redis is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// One node.
    Node(Box<Client>),
    /// A cluster, by some of its nodes.
    Cluster(Vec<String>),
}

impl Target {
    /// Reads `redis://`, `rediss://`, or `redis+cluster://[user:password@]host:port[,host:port…]`, which is
    /// `rediss+cluster://` with TLS.
    pub(crate) fn parse(url: &str, response_timeout: Duration) -> Result<Self, StoreError> {
        Ok(Self { place: Place::parse(url)?, response_timeout })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// A command that takes longer is given up.
    pub(crate) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// A connection that is not made by then is given up: 300 ms of the usual 700, so that both fit into a second.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.response_timeout * 3 / 7
    }

    /// Whether it is a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.place, Place::Cluster(_))
    }

    /// How every connection to a cluster is set up.
    pub(crate) fn cluster_builder(&self, nodes: &[String]) -> ClusterClientBuilder {
        ClusterClientBuilder::new(nodes.iter().map(String::as_str))
            .use_protocol(ProtocolVersion::RESP3)
            .retries(2)
            .min_retry_wait(20)
            .max_retry_wait(100)
            .connection_timeout(self.connect_timeout())
            .response_timeout(self.response_timeout)
            .tcp_settings(tcp_settings())
    }
}

impl Place {
    fn parse(url: &str) -> Result<Self, StoreError> {
        let malformed = |e: RedisError| StoreError::Unavailable(format!("the Redis URL is malformed: {e}"));
        for (prefix, scheme) in [("redis+cluster://", "redis"), ("rediss+cluster://", "rediss")] {
            if let Some(rest) = url.strip_prefix(prefix) {
                let nodes = cluster_nodes(scheme, rest);
                ClusterClient::new(nodes.clone()).map_err(malformed)?;
                return Ok(Self::Cluster(nodes));
            }
        }
        let info = url.into_connection_info().map_err(malformed)?.set_tcp_settings(tcp_settings());
        Client::open(info).map(|client| Self::Node(Box::new(client))).map_err(malformed)
    }
}

fn cluster_nodes(scheme: &str, rest: &str) -> Vec<String> {
    let (auth, hosts) = rest.rsplit_once('@').map_or((String::new(), rest), |(a, h)| (format!("{a}@"), h));
    hosts.trim_end_matches('/').split(',').map(|host| format!("{scheme}://{auth}{host}")).collect()
}

/// An idle connection whose other end is gone is found by probes, a busy one by what stays unacknowledged.
fn tcp_settings() -> TcpSettings {
    let probes = TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE / 5);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(probes);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(SILENCE);
    settings
}

/// The shared connection. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Connection {
    target: Target,
    link: Arc<Mutex<Arc<Link>>>,
    told: Arc<Told>,
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
#[derive(Default)]
struct Link {
    node: OnceCell<ConnectionManager>,
    cluster: OnceCell<ClusterConnection>,
    timeouts: AtomicU32,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("cluster", &self.target.is_cluster()).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, link: Arc::default(), told: Arc::default() }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// What is told of the commands that were sent.
    pub(crate) fn told(&self) -> &Told {
        &self.told
    }

    /// Sends a command. One that met a connection which had broken while idle is sent once more: every operation of
    /// this crate may be repeated.
    pub(crate) async fn send(&self, cmd: &Cmd) -> Result<Value, RedisError> {
        match self.send_once(cmd).await {
            Err(e) if e.is_connection_dropped() => self.send_once(cmd).await,
            other => other,
        }
    }

    async fn send_once(&self, cmd: &Cmd) -> Result<Value, RedisError> {
        let link = Arc::clone(&self.link.lock().unwrap_or_else(PoisonError::into_inner));
        let begun = Instant::now();
        let reply = link.send(&self.target, cmd).await;
        let took = begun.elapsed();
        self.told.latency.add(took);
        latency::note(took);
        if reply.as_ref().is_err_and(|e| e.code().is_none()) {
            self.told.unanswered.fetch_add(1, Ordering::Relaxed);
        }
        match &reply {
            Err(e) if e.is_timeout() => self.count_timeout(&link),
            _ => link.timeouts.store(0, Ordering::Relaxed),
        }
        reply
    }

    fn count_timeout(&self, link: &Arc<Link>) {
        if link.timeouts.fetch_add(1, Ordering::Relaxed) + 1 < TIMEOUTS_IN_A_ROW {
            return;
        }
        let mut current = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, link) {
            tracing::warn!(component = "store", "Redis does not answer on its connection: trying a new one");
            *current = Arc::default();
        }
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
            Place::Cluster(nodes) => {
                let connect = self.cluster.get_or_try_init(|| cluster(target, nodes));
                let bounded = tokio::time::timeout(target.response_timeout(), connect).await;
                let connection = bounded.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
                cmd.query_async(&mut connection.clone()).await
            }
        }
    }
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

async fn cluster(target: &Target, nodes: &[String]) -> Result<ClusterConnection, RedisError> {
    target.cluster_builder(nodes).build()?.get_async_connection().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_of_a_cluster_gets_the_scheme_and_the_credential_of_the_url() {
        let nodes = |url: &str| match Place::parse(url).unwrap_or_else(|e| panic!("{url}: {e}")) {
            Place::Cluster(nodes) => nodes,
            Place::Node(_) => Vec::new(),
        };
        assert_eq!(nodes("redis+cluster://a:1,b:2/"), ["redis://a:1", "redis://b:2"]);
        assert_eq!(nodes("rediss+cluster://u:p@a:1,b:2"), ["rediss://u:p@a:1", "rediss://u:p@b:2"]);
        assert!(nodes("rediss://a:1").is_empty());
    }
}
