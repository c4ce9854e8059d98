//! `audit/jobs`: compares a slice of the jobs with everything that has to know of them.

use super::page::Page;
use crate::{
    Pool, StoreError,
    script::{Args, script},
};

script!(Reads, "audit/jobs", uses ["calls", "key", "clock", "pool", "record", "segment", "job", "terms", "agent", "ledger"]);

/// Runs the script for one slice.
pub(super) async fn run(pool: &Pool, after: &str) -> Result<Option<Page>, StoreError> {
    let mut args = Args::new();
    args.push(after).push(pool.now());
    Page::of(pool, &SCRIPT, "audit/jobs", &args).await
}
