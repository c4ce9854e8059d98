//! The agent as a whole: the real program, real jobs, and a coordinator that does what each test tells it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a broken test should stop where it breaks")]

mod agent;
#[path = "../../../tests/src/backend/mod.rs"]
#[expect(dead_code, unreachable_pub, reason = "it belongs to the harness of the whole, which uses all of it")]
mod backend;
mod backends;
mod coordinator;
mod doctor;
mod drain;
mod ends;
mod fencing;
mod full_disk;
mod gateway;
mod gpus;
mod identity;
mod limits;
mod local;
mod logging;
mod loops;
mod next_claims;
mod nvml;
#[path = "../../../tests/src/ollama/mod.rs"]
#[expect(dead_code, unreachable_pub, reason = "likewise")]
mod ollama;
mod output;
mod policy;
mod processes;
mod pulls;
mod relay;
mod results;
mod settings;
mod supervise;
mod takeover;
mod ways;
