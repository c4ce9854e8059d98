//! `audit/classes`: looks at a slice of the classes.

use super::page::Page;
use crate::{
    Pool, StoreError,
    script::{Args, script},
};

script!(Reads, "audit/classes", uses ["calls", "key", "clock", "pool", "ledger"]);

/// Runs the script for one slice.
pub(super) async fn run(pool: &Pool, cursor: &str) -> Result<Option<Page>, StoreError> {
    let mut args = Args::new();
    args.push(cursor).push(pool.now());
    Page::of(pool, &SCRIPT, "audit/classes", &args).await
}
