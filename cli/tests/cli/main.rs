//! Tests of the command line, most of them against a coordinator that says what a test tells it to.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by failing")]

mod args;
mod batch;
mod contexts;
mod credentials;
mod dev;
mod docs;
mod doctor;
mod events;
mod exit_codes;
mod fleet;
mod follow;
mod inference;
mod jobs;
mod once;
mod pull;
mod render;
mod scheduler;
mod settings;
mod sse;
mod submit;
mod support;
mod words;
