//! `audit/class`: looks at a slice of the members, the queue or one rank of a class.

use super::page::Page;
use crate::{
    Pool, StoreError,
    script::{Args, script},
};

script!(Reads, "audit/class", uses ["calls", "key", "clock", "pool", "record", "job", "terms", "agent", "ledger"]);

/// Runs the script for one slice.
pub(super) async fn run(pool: &Pool, class: &str, part: &str, cursor: &str) -> Result<Option<Page>, StoreError> {
    let mut args = Args::new();
    args.push(class).push(part).push(cursor).push(pool.now());
    Page::of(pool, &SCRIPT, "audit/class", &args).await
}
