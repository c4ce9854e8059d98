//! The agent as a whole: the real program, real jobs, and a coordinator that does what each test tells it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a broken test should stop where it breaks")]

mod agent;
mod coordinator;
mod doctor;
mod drain;
mod ends;
mod fencing;
mod gpus;
mod identity;
mod limits;
mod local;
mod loops;
mod nvml;
mod output;
mod policy;
mod processes;
mod settings;
mod takeover;
mod ways;
