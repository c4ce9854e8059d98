//! The test harness: real Redis servers, real coordinators and agents as processes, and a proxy that breaks the wires
//! between them.
//!
//! Everything here listens on loopback, keeps its files in a temporary folder and ends what it started when it is
//! dropped. What it can't do, it panics about: a test has nothing better to do with an error.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a harness fails the test by panicking"
)]

pub mod agent;
pub mod audit;
pub mod backend;
pub mod bench;
pub mod binaries;
pub mod browser;
pub mod cluster;
pub mod commands;
pub mod coordinator;
pub mod fleet;
pub mod llama;
pub mod namespace;
pub mod nvml;
pub mod ports;
pub mod process;
pub mod protocol_agent;
pub mod proxy;
pub mod redis;
pub mod relaying_agent;
pub mod replicas;
pub mod rewriter;
pub mod skip;
pub mod snapshot;
pub mod wait;
pub mod wire;
