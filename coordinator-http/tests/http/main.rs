//! The coordinator's HTTP interface over a real Redis: each test has its own.

mod agent;
mod authorization;
mod bad_input;
mod flow;
mod observed;
mod outage;
mod output;
mod polling;
mod program;
mod redis_server;
mod settings;
mod slow_peers;
mod tokens;
mod world;
