//! The connection that carries all commands of a process: multiplexed, lazily made, re-made when it breaks.

use std::{sync::Arc, time::Duration};

use redis::{
    Client, Cmd, ProtocolVersion, RedisError, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
};
use tokio::sync::OnceCell;

use crate::StoreError;

/// A command that takes longer is given up, so that a request is answered within a second.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(700);
/// A connection that is not made by then is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// Where Redis is.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// One node.
    Node(Box<Client>),
    /// A cluster, by some of its nodes.
    Cluster(Vec<String>),
}

impl Target {
    /// Reads `redis://`, `rediss://` or `redis+cluster://[user:password@]host:port[,host:port…]`.
    pub(crate) fn parse(url: &str) -> Result<Self, StoreError> {
        let malformed = |e: RedisError| StoreError::Unavailable(format!("the Redis URL is malformed: {e}"));
        if let Some(rest) = url.strip_prefix("redis+cluster://") {
            let (auth, hosts) = rest.rsplit_once('@').map_or((String::new(), rest), |(a, h)| (format!("{a}@"), h));
            let nodes: Vec<String> =
                hosts.trim_end_matches('/').split(',').map(|host| format!("redis://{auth}{host}")).collect();
            ClusterClient::new(nodes.clone()).map_err(malformed)?;
            return Ok(Self::Cluster(nodes));
        }
        Client::open(url).map(|client| Self::Node(Box::new(client))).map_err(malformed)
    }

    /// Whether it is a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// How every connection to a cluster is set up.
    pub(crate) fn cluster_builder(nodes: &[String]) -> ClusterClientBuilder {
        ClusterClientBuilder::new(nodes.iter().map(String::as_str))
            .use_protocol(ProtocolVersion::RESP3)
            .retries(2)
            .min_retry_wait(20)
            .max_retry_wait(100)
            .connection_timeout(CONNECT_TIMEOUT)
            .response_timeout(RESPONSE_TIMEOUT)
    }
}

/// The shared connection. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Connection {
    target: Target,
    node: Arc<OnceCell<ConnectionManager>>,
    cluster: Arc<OnceCell<ClusterConnection>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("cluster", &self.target.is_cluster()).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, node: Arc::default(), cluster: Arc::default() }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
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
        match &self.target {
            Target::Node(client) => {
                let connection = self.node.get_or_try_init(|| async { manager(client) }).await?;
                cmd.query_async(&mut connection.clone()).await
            }
            Target::Cluster(nodes) => {
                let connect = self.cluster.get_or_try_init(|| cluster(nodes));
                let bounded = tokio::time::timeout(RESPONSE_TIMEOUT, connect).await;
                let connection = bounded.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
                cmd.query_async(&mut connection.clone()).await
            }
        }
    }

    /// Sends a command and reads its reply.
    pub(crate) async fn query<T: redis::FromRedisValue>(&self, cmd: &Cmd) -> Result<T, StoreError> {
        let value = self.send(cmd).await?;
        redis::from_redis_value(value).map_err(|e| StoreError::Corrupt(e.to_string()))
    }
}

fn manager(client: &Client) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_min_delay(Duration::from_millis(50))
        .set_max_delay(Duration::from_millis(200))
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT));
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

async fn cluster(nodes: &[String]) -> Result<ClusterConnection, RedisError> {
    Target::cluster_builder(nodes).build()?.get_async_connection().await
}
