//! Tests against a real Redis, each with its own, and no other process.

mod harness;
mod store;
