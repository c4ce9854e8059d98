//! `audit/due`: looks at a slice of what falls due, or of what could not be settled.

use super::page::Page;
use crate::{
    Pool, StoreError,
    script::{Args, script},
};

script!(Reads, "audit/due", uses ["calls", "key", "clock", "pool", "ledger"]);

/// Runs the script for one slice.
pub(super) async fn run(pool: &Pool, part: &str, cursor: &str) -> Result<Option<Page>, StoreError> {
    let mut args = Args::new();
    args.push(part).push(cursor).push(pool.now());
    Page::of(pool, &SCRIPT, "audit/due", &args).await
}
