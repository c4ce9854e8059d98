//! The handles that operations run on.

use titan_api::{health::Check, ids::PoolName};

use crate::{PoolSettings, StoreError};

/// A Redis deployment. Cloning is cheap and shares the connections.
#[derive(Debug, Clone)]
pub struct Store {}

impl Store {
    /// Prepares the connections to `url` (`redis://`, `rediss://`, or `redis+cluster://host:port,host:port`). Nothing is
    /// sent before the first operation, and a Redis that is away now may come later.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the URL is malformed.
    pub fn new(url: &str, settings: PoolSettings) -> Result<Self, StoreError> {
        let _ = (url, settings);
        todo!()
    }

    /// The settings that this process opens pools with.
    #[must_use]
    pub fn settings(&self) -> &PoolSettings {
        todo!()
    }

    /// A handle on one pool, which is opened with the first operation on it.
    #[must_use]
    pub fn pool(&self, name: &PoolName) -> Pool {
        let _ = name;
        todo!()
    }

    /// The time on the clock of Redis, milliseconds since the epoch.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn now_ms(&self) -> Result<i64, StoreError> {
        todo!()
    }

    /// Looks whether Redis is reachable and writable, and whether it would lose data. Bounded to a second.
    pub async fn checks(&self) -> Vec<Check> {
        todo!()
    }

    /// The pools that have ever been opened, by name: what a sweep has to visit.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn pools(&self) -> Result<Vec<PoolName>, StoreError> {
        todo!()
    }
}

/// One pool in a store. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Pool {}

impl Pool {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &PoolName {
        todo!()
    }

    /// The same pool with a clock of the caller's, milliseconds since the epoch, for tests.
    #[must_use]
    pub fn at(&self, now_ms: i64) -> Self {
        let _ = now_ms;
        todo!()
    }
}
