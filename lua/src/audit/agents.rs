//! `audit/agents`: compares a slice of the agents with what they hold and where they stand.

use super::page::Page;
use crate::{
    Pool, StoreError,
    script::{Args, script},
};

script!(Reads, "audit/agents", uses ["calls", "key", "clock", "pool", "record", "job", "terms", "agent", "ledger"]);

/// Runs the script for one slice.
pub(super) async fn run(pool: &Pool, after: &str) -> Result<Option<Page>, StoreError> {
    let mut args = Args::new();
    args.push(after).push(pool.now());
    Page::of(pool, &SCRIPT, "audit/agents", &args).await
}
