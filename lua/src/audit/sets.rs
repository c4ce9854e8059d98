//! `audit/sets`: looks at a slice of one of the sets by state.

use super::page::Page;
use crate::{
    Pool, StoreError,
    script::{Args, script},
};

script!(Reads, "audit/sets", uses ["calls", "key", "clock", "pool", "record", "job", "terms", "agent", "ledger"]);

/// The sets by state: of jobs, then of agents.
pub(super) const ALL: [&str; 9] =
    ["blocked", "delayed", "scheduled", "running", "ended", "degraded", "half_open", "offline", "draining"];

/// Runs the script for one slice.
pub(super) async fn run(pool: &Pool, set: &str, cursor: &str) -> Result<Option<Page>, StoreError> {
    let mut args = Args::new();
    args.push(set).push(cursor).push(pool.now());
    Page::of(pool, &SCRIPT, "audit/sets", &args).await
}
