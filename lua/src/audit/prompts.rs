//! `audit/prompts`: compares how many bytes of prompts the pool counts with those that there are.

use super::page::Page;
use crate::{
    Pool, StoreError,
    script::{Args, script},
};

script!(Reads, "audit/prompts", uses ["calls", "key", "int", "clock", "pool", "ledger"]);

/// Runs the script.
pub(super) async fn run(pool: &Pool) -> Result<Option<Page>, StoreError> {
    let mut args = Args::new();
    args.push(pool.now());
    let page = Page::of(pool, &SCRIPT, "audit/prompts", &args).await?;
    // What was looked at is one number, and none of the jobs that this part counts.
    Ok(page.map(|page| Page { checked: 0, ..page }))
}
