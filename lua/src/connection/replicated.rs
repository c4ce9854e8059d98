//! What must not be told before a replica has it: the command and the `WAIT` after it go over one connection, which
//! nothing else uses meanwhile. So the node that is asked for its replicas is the one that took the command, whoever
//! becomes master in between.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime, Timeouts};
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, ServerErrorKind, Value,
};
use tokio::time::{Instant, timeout_at};

use super::{
    Node,
    target::{Place, Target, connection_info},
};
use crate::{
    keys,
    library::Loaded,
    script::{Args, Script},
};

/// Connections to one node at once.
const CONNECTIONS: usize = 16;
/// Keys whose place is remembered: those of pools, and of credentials for a while.
const MOST_PLACES: usize = 4_096;
/// How often a command may be sent on: to another node of the cluster, or over a new connection.
const TRIES: usize = 6;
/// How long a mark stays that was written to have something to wait for, milliseconds.
const MARK_MS: u32 = 1_000;
/// `WAIT` is given so much less than it may take, so that its answer arrives in time.
const MARGIN: Duration = Duration::from_millis(20);
/// The least that a replica is waited for, however long the command took.
const LEAST: Duration = Duration::from_millis(100);

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work<'a> {
    /// A script on two keys.
    Script(&'a Script, [&'a str; 2], &'a Args),
    /// A command.
    Command(&'a Cmd),
}

/// The connections for it, by the address of their node.
#[derive(Debug)]
pub(super) struct Replicated {
    target: Target,
    loaded: Arc<Loaded>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    pools: HashMap<String, Pool>,
    /// Which node of a cluster has a key.
    places: HashMap<String, ConnectionInfo>,
}

impl Known {
    fn note(&mut self, key: &str, there: ConnectionInfo) {
        if self.places.len() >= MOST_PLACES {
            self.places.clear();
        }
        self.places.insert(key.to_owned(), there);
    }
}

impl Replicated {
    pub(super) fn new(target: Target, loaded: Arc<Loaded>) -> Self {
        Self { target, loaded, known: Mutex::default() }
    }

    /// Does `work` where `key` is. If `counts` says so of its reply, a replica is waited for; false if none has it in
    /// time. What was lost on the way is done again: all of it may be repeated.
    pub(super) async fn run(
        &self,
        key: &str,
        work: Work<'_>,
        counts: impl Fn(&Value) -> bool,
    ) -> Result<(Value, bool), RedisError> {
        let begun = Instant::now();
        let deadline = begun + self.target.response_timeout() + self.target.connect_timeout();
        let mut failure = None;
        for number in 0..TRIES {
            let node = self.node(key, number).await?;
            let mut connection = match self.checkout(&node, deadline).await {
                Ok(connection) => connection,
                Err(e) if Instant::now() >= deadline => return Err(e),
                Err(e) => {
                    self.forget(key, &node, !e.is_timeout());
                    failure = Some(e);
                    continue;
                }
            };
            let reply = timeout_at(deadline, work.run(&mut connection, &self.loaded))
                .await
                .unwrap_or_else(|_| Err(timed_out()));
            match reply {
                Ok(value) => {
                    let has = !counts(&value) || self.wait(key, connection, begun).await;
                    return Ok((value, has));
                }
                Err(e) => self.learn(key, &node, connection, e).map(|e| failure = Some(e))?,
            }
        }
        Err(failure.unwrap_or_else(timed_out))
    }

    /// Whether a replica has, within the time of an answer, all that was sent over the connection before.
    async fn wait(&self, key: &str, mut connection: Connection, begun: Instant) -> bool {
        let deadline = (begun + self.target.response_timeout()).max(Instant::now() + LEAST);
        // A repeat may have nothing to write, and Valkey's `WAIT` is content if this connection wrote nothing. Redis waits
        // for all that was written before, so nothing is lost if it has no memory for this.
        let mut mark = Cmd::new();
        mark.arg("SET").arg(keys::mark(key)).arg("").arg("PX").arg(MARK_MS);
        let _ = timeout_at(deadline, mark.query_async::<Value>(&mut connection)).await;
        let patience = deadline.saturating_duration_since(Instant::now()).saturating_sub(MARGIN);
        let mut wait = Cmd::new();
        wait.arg("WAIT").arg(1).arg(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX).max(1));
        let answer = timeout_at(deadline, wait.query_async::<i64>(&mut connection)).await;
        if let Ok(Ok(replicas)) = answer {
            return replicas >= 1;
        }
        drop(Connection::take(connection));
        false
    }

    /// What a failure says of where things are. It is returned if another try makes sense, and an error if not.
    fn learn(
        &self,
        key: &str,
        node: &ConnectionInfo,
        connection: Connection,
        e: RedisError,
    ) -> Result<RedisError, RedisError> {
        match e.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => {
                let there = e.redirect_node().and_then(|(address, _)| moved(node, address));
                match there {
                    Some(there) => self.known().note(key, there),
                    None => self.forget(key, node, false),
                }
                Ok(e)
            }
            // It was demoted: the sentinels, or the name of the node, may know another by now.
            ErrorKind::Server(ServerErrorKind::ReadOnly) => {
                drop(Connection::take(connection));
                self.forget(key, node, true);
                Ok(e)
            }
            ErrorKind::Io => {
                drop(Connection::take(connection));
                self.forget(key, node, e.is_connection_dropped());
                if e.is_connection_dropped() { Ok(e) } else { Err(e) }
            }
            _ => Err(e),
        }
    }

    /// The node that is asked. In a cluster any may be, since it names the right one; each try takes another.
    async fn node(&self, key: &str, number: usize) -> Result<ConnectionInfo, RedisError> {
        match self.target.place() {
            Place::Node(client) => Ok(client.get_connection_info().clone()),
            Place::Sentinel(sentinels) => sentinels.master(self.target.connect_timeout()).await,
            Place::Cluster(nodes) => {
                let served = self.known().places.get(key).cloned();
                served.map_or_else(|| connection_info(&nodes[number % nodes.len()]), Ok)
            }
        }
    }

    async fn checkout(&self, node: &ConnectionInfo, deadline: Instant) -> Result<Connection, RedisError> {
        let pool = self.pool(node)?;
        match timeout_at(deadline, pool.get()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(PoolError::Backend(e))) => Err(e),
            Ok(Err(PoolError::Timeout(_))) | Err(_) => Err(timed_out()),
            Ok(Err(e)) => Err((ErrorKind::Client, "no connection", e.to_string()).into()),
        }
    }

    fn pool(&self, node: &ConnectionInfo) -> Result<Pool, RedisError> {
        let address = node.addr().to_string();
        if let Some(pool) = self.known().pools.get(&address) {
            return Ok(pool.clone());
        }
        // The time for an answer is bounded by whoever asks: `WAIT` takes as long as it is told.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.target.connect_timeout()))
            .set_response_timeout(None);
        let bounds = Timeouts {
            wait: Some(self.target.response_timeout()),
            create: Some(self.target.connect_timeout()),
            recycle: Some(self.target.connect_timeout()),
        };
        let manager = Manager::new_with_config(node.clone(), config)?;
        let pool = Pool::builder(manager).max_size(CONNECTIONS).timeouts(bounds).runtime(Runtime::Tokio1).build();
        let pool = pool.map_err(|e| RedisError::from((ErrorKind::Client, "no pool of connections", e.to_string())))?;
        Ok(self.known().pools.entry(address).or_insert(pool).clone())
    }

    /// The key may be elsewhere by now; if the node is gone, so are all connections to it.
    fn forget(&self, key: &str, node: &ConnectionInfo, is_gone: bool) {
        let mut known = self.known();
        known.places.remove(key);
        if is_gone {
            known.pools.remove(&node.addr().to_string());
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work<'_> {
    async fn run(self, on: &mut Connection, loaded: &Loaded) -> Result<Value, RedisError> {
        match self {
            Self::Command(cmd) => on.send(cmd).await,
            Self::Script(script, keys, args) => script.run_at(on, loaded, keys, args).await,
        }
    }
}

impl Node for Connection {
    async fn send(&mut self, cmd: &Cmd) -> Result<Value, RedisError> {
        cmd.query_async(self).await
    }

    async fn send_to(&mut self, _key: &str, cmd: &Cmd) -> Result<Value, RedisError> {
        cmd.query_async(self).await
    }
}

/// How to connect to the node that another one names: `host:port`, or `:port` for the same host.
fn moved(from: &ConnectionInfo, address: &str) -> Option<ConnectionInfo> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let host = |same: &str| if host.is_empty() { same.to_owned() } else { host.trim_matches(['[', ']']).to_owned() };
    let there = match from.addr() {
        ConnectionAddr::Tcp(same, _) => ConnectionAddr::Tcp(host(same), port),
        ConnectionAddr::TcpTls { host: same, insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host: host(same), port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => return None,
    };
    Some(from.clone().set_addr(there))
}

fn timed_out() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}
