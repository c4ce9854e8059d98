//! The coordinator's HTTP interface over a real Redis: each test has its own.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]

mod agent;
mod authorization;
mod bad_input;
mod behind;
mod bounds;
mod closing;
mod compression;
mod data_lost;
mod decisions;
mod events;
mod flow;
mod late;
mod light;
mod log;
mod losing;
mod lost_replies;
mod metrics;
mod next_claims;
mod observed;
mod outage;
mod output;
mod overload;
mod polling;
mod program;
mod pulls;
mod quotas;
mod redis_server;
mod refusing;
mod relay;
mod settings;
mod slow_peers;
mod sse;
mod tickets;
mod tokens;
mod world;
