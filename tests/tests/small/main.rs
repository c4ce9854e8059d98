//! Tests that need neither Redis nor a process.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod scripts;
