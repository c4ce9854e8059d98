//! Tests against a real Redis, each with its own, and no other process.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod cluster;
mod connection;
mod harness;
mod model;
mod replicas;
mod store;
