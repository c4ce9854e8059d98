//! The handles that operations run on.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use redis::{Cmd, Value};
use titan_api::{health::Check, ids::PoolName};

use crate::{
    PoolSettings, StoreError,
    agents::Calls,
    checks,
    connection::{Connection, RESPONSE_TIMEOUT, Target, Work},
    jobs::{KnownClasses, Submissions},
    keys,
    latency::Distribution,
    pool,
    reply::Reply,
    script::{Args, Script},
    tickets::Issuings,
    together::Together,
    watch::Watches,
};

/// A Redis deployment. Cloning is cheap and shares the connections.
#[derive(Debug, Clone)]
pub struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connection: Connection,
    settings: PoolSettings,
    opened: Mutex<HashSet<PoolName>>,
    watches: Watches,
    classes: KnownClasses,
    submissions: Together<Submissions>,
    issuings: Together<Issuings>,
    agent_calls: Together<Calls>,
}

/// When an acknowledgement of what makes or ends work may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When Redis has it.
    #[default]
    Local,
    /// When a replica of Redis has it too; [`StoreError::NotReplicated`] if none has it in time.
    Replicated,
}

/// How a store deals with its Redis.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// How long an answer may take. A replica is waited for within the same time.
    pub response_timeout: Duration,
    /// When work is acknowledged.
    pub durability: Durability,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { response_timeout: RESPONSE_TIMEOUT, durability: Durability::Local }
    }
}

impl Store {
    /// Prepares the connections to `url` (`redis://`, `redis+sentinel://host:port,host:port/service` or
    /// `redis+cluster://host:port,host:port`; `rediss` for TLS). Nothing is sent before the first operation, and a Redis
    /// that is away now may come later. An operation fails if Redis does not answer within 700 ms. Must be called inside a
    /// Tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Url`] if the URL is malformed.
    pub fn new(url: &str, settings: PoolSettings) -> Result<Self, StoreError> {
        Self::with(url, settings, StoreOptions::default())
    }

    /// The same with other options.
    ///
    /// # Errors
    /// [`StoreError::Url`] if the URL is malformed.
    pub fn with(url: &str, settings: PoolSettings, options: StoreOptions) -> Result<Self, StoreError> {
        // Without a provider rustls panics at the first `rediss://` connection; a second installation is refused.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let target = Target::parse(url, options.response_timeout)?;
        let watches = Watches::new(target.clone());
        let connection = Connection::new(target, options.durability);
        Ok(Self(Arc::new(Shared {
            connection,
            settings,
            opened: Mutex::default(),
            watches,
            classes: KnownClasses::default(),
            submissions: Together::default(),
            issuings: Together::default(),
            agent_calls: Together::default(),
        })))
    }

    /// Host and port of each node that the URL names, with commas: what may be shown of it.
    #[must_use]
    pub fn address(&self) -> String {
        self.connection().target().address()
    }

    /// The settings that this process opens pools with.
    #[must_use]
    pub fn settings(&self) -> &PoolSettings {
        &self.0.settings
    }

    /// A handle on one pool, which is opened with the first operation on it.
    #[must_use]
    pub fn pool(&self, name: &PoolName) -> Pool {
        Pool {
            store: self.clone(),
            name: name.clone(),
            key: keys::pool(name),
            absent: keys::absent(name),
            now_ms: None,
        }
    }

    /// The time on the clock of Redis, milliseconds since the epoch.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn now_ms(&self) -> Result<i64, StoreError> {
        let (seconds, micros): (i64, i64) = self.connection().query(&redis::cmd("TIME")).await?;
        Ok(seconds * 1_000 + micros / 1_000)
    }

    /// Looks whether Redis is reachable and writable, and whether it would lose data. Bounded to little more than an
    /// answer of Redis may take.
    pub async fn checks(&self) -> Vec<Check> {
        Box::pin(checks::run(self.connection())).await
    }

    /// How long Redis took for the commands of this process, and how many got no answer.
    #[must_use]
    pub fn latency(&self) -> (Distribution, u64) {
        let told = self.connection().told();
        (told.latency.read(), told.unanswered.load(Ordering::Relaxed))
    }

    /// The pools that have ever been opened, by name: what a sweep has to visit.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn pools(&self) -> Result<Vec<PoolName>, StoreError> {
        let names: Vec<String> = self.connection().query(redis::cmd("SMEMBERS").arg(keys::POOLS)).await?;
        let mut pools: Vec<PoolName> = names.into_iter().filter_map(|name| PoolName::new(name).ok()).collect();
        pools.sort();
        Ok(pools)
    }

    /// How scripts announce changes: sharded on a cluster, so that a message stays on one node.
    pub(crate) fn publish_command(&self) -> &'static str {
        if self.connection().target().is_cluster() { "SPUBLISH" } else { "PUBLISH" }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.0.connection
    }

    pub(crate) fn watches(&self) -> &Watches {
        &self.0.watches
    }

    pub(crate) fn classes(&self) -> &KnownClasses {
        &self.0.classes
    }

    /// Runs a command that writes to `key`, and waits for a replica if the store is to.
    pub(crate) async fn write_replicated(&self, key: &str, cmd: &Cmd) -> Result<Value, StoreError> {
        let (value, has) = self.connection().send_replicated(key, Work::Command(cmd), |_| true).await?;
        if has { Ok(value) } else { Err(StoreError::not_replicated()) }
    }

    /// Runs a script on one key that belongs to no pool, and waits for a replica if the store is to and the script answers
    /// with one of `words`.
    pub(crate) async fn run_replicated(
        &self,
        script: &Script,
        key: &str,
        args: &Args,
        words: &[&str],
    ) -> Result<Reply, StoreError> {
        let work = Work::Script(script, [key, key], args);
        let (value, has) = self.connection().send_replicated(key, work, |value| has_word(value, words)).await?;
        if has { Reply::new(value) } else { Err(StoreError::not_replicated()) }
    }

    pub(crate) fn submissions(&self) -> &Together<Submissions> {
        &self.0.submissions
    }

    pub(crate) fn issuings(&self) -> &Together<Issuings> {
        &self.0.issuings
    }

    pub(crate) fn agent_calls(&self) -> &Together<Calls> {
        &self.0.agent_calls
    }

    fn is_opened(&self, name: &PoolName) -> bool {
        self.0.opened.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    fn remember_opened(&self, name: &PoolName) {
        self.0.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
    }
}

/// One pool in a store. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Pool {
    store: Store,
    name: PoolName,
    key: String,
    absent: String,
    now_ms: Option<i64>,
}

impl Pool {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &PoolName {
        &self.name
    }

    /// The same pool with a clock of the caller's, milliseconds since the epoch, for tests.
    #[must_use]
    pub fn at(&self, now_ms: i64) -> Self {
        Self { now_ms: Some(now_ms), ..self.clone() }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The pool's hash, which is the prefix of all its other keys.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The argument `now_ms` of every script: empty for the clock of Redis.
    pub(crate) fn now(&self) -> String {
        self.now_ms.map(|ms| ms.to_string()).unwrap_or_default()
    }

    /// Runs a script and reads the word of its reply. A pool that this process has not opened yet, or that Redis has
    /// lost, is opened first.
    pub(crate) async fn call(&self, script: &Script, args: &Args) -> Result<(String, Reply), StoreError> {
        self.call_as(script, args, &[]).await.map(|(word, reply, _)| (word, reply))
    }

    /// The same for what is acknowledged by one of `words`: it waits for a replica if the store is to.
    pub(crate) async fn call_replicated(
        &self,
        script: &Script,
        args: &Args,
        words: &[&str],
    ) -> Result<(String, Reply), StoreError> {
        let (word, reply, has) = self.call_as(script, args, words).await?;
        if has { Ok((word, reply)) } else { Err(StoreError::not_replicated()) }
    }

    /// The same, and says whether a replica has it, if one was waited for.
    pub(crate) async fn call_as(
        &self,
        script: &Script,
        args: &Args,
        words: &[&str],
    ) -> Result<(String, Reply, bool), StoreError> {
        if !self.store.is_opened(&self.name) {
            self.open().await?;
        }
        let told = self.call_once_as(script, args, words).await?;
        if told.0 != "no_pool" {
            return Ok(told);
        }
        self.open().await?;
        self.call_once_as(script, args, words).await
    }

    async fn open(&self) -> Result<(), StoreError> {
        pool::open(self).await?;
        self.store.remember_opened(&self.name);
        Ok(())
    }

    /// Runs a script without opening the pool.
    pub(crate) async fn call_once(&self, script: &Script, args: &Args) -> Result<(String, Reply), StoreError> {
        self.call_once_as(script, args, &[]).await.map(|(word, reply, _)| (word, reply))
    }

    async fn call_once_as(
        &self,
        script: &Script,
        args: &Args,
        words: &[&str],
    ) -> Result<(String, Reply, bool), StoreError> {
        let (connection, keys) = (self.store.connection(), [self.key.as_str(), &self.absent]);
        let (value, has) = if words.is_empty() {
            (script.run(connection, keys, args).await?, true)
        } else {
            let work = Work::Script(script, keys, args);
            connection.send_replicated(&self.key, work, |value| has_word(value, words)).await?
        };
        let mut reply = Reply::new(value)?;
        let word = reply.text()?;
        if word == "newer_schema" {
            return Err(StoreError::Unavailable(
                "the pool was written by a newer version of TitanCompute; upgrade this coordinator".to_owned(),
            ));
        }
        Ok((word, reply, has))
    }
}

/// Whether a script's reply begins with one of the words.
fn has_word(reply: &Value, words: &[&str]) -> bool {
    let Value::Array(values) = reply else { return false };
    match values.first() {
        Some(Value::BulkString(word)) => words.iter().any(|known| known.as_bytes() == word),
        Some(Value::SimpleString(word)) => words.contains(&word.as_str()),
        _ => false,
    }
}
