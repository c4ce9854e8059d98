//! Tests of the command line, all but the embedded fleet, against a coordinator that says what a test tells it to.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by failing")]

mod args;
mod dev;
mod docs;
mod exit_codes;
mod follow;
mod render;
mod settings;
mod sse;
mod support;
