//! Everything that TitanCompute keeps in Redis, as typed operations.
//!
//! Each operation is one atomic Lua script under `lua/scripts/<noun>/<verb>.lua` with its wrapper beside it in
//! `lua/src/<noun>/<verb>.rs`: a struct of arguments whose `run` gives an enum of outcomes. No other crate knows the
//! name of a key or sees a raw reply. What agents claim and report is one script, `agents/work`.

pub mod agents;
pub mod audit;
mod checks;
mod connection;
pub mod credentials;
mod error;
pub mod events;
pub mod jobs;
mod keys;
pub mod latency;
mod library;
pub mod models;
pub mod output;
mod pack;
pub mod pool;
mod reply;
mod script;
mod store;
pub mod tickets;
mod together;
pub mod usage;
pub mod watch;

pub use error::StoreError;
pub use pool::PoolSettings;
pub use store::{Durability, Pool, Store, StoreOptions};
