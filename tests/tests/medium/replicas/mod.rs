//! A Redis with replicas: what is acknowledged, and what outlasts the loss of the master.

mod cluster;
mod durability;
mod failover;
mod parted;

use std::time::Duration;

use titan_lua::{Durability, PoolSettings, Store, StoreOptions};

/// How long a replica, or Redis itself, is waited for: more than a busy machine takes, and less than a test may.
const PATIENCE: Duration = Duration::from_secs(2);

/// A store that waits for replicas.
fn replicated(url: &str) -> Store {
    with(url, Durability::Replicated)
}

fn with(url: &str, durability: Durability) -> Store {
    Store::with(url, PoolSettings::default(), StoreOptions { response_timeout: PATIENCE, durability }).unwrap()
}
