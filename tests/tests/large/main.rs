//! Tests of a whole installation: coordinators and agents as processes, real jobs, everything over HTTP.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agents;
mod clients;
mod crashes;
mod crowd;
mod direct;
mod docs_page;
mod encrypted;
mod helpers;
mod inference;
mod models;
mod ollama;
mod outages;
mod output;
mod parted;
mod private_ca;
mod replicas;
mod secrets;
mod sharing;
mod traces;
mod walk;
mod work;
