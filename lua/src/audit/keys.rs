//! `audit/keys`: says which keys of the pool belong to nothing that is there.

use super::page::Page;
use crate::{
    Pool, StoreError,
    script::{Args, script},
};

script!(Reads, "audit/keys", uses ["calls", "key", "clock", "pool", "ledger"]);

/// How many keys of the database are looked through at once; those of other pools are passed over.
const COUNT: u32 = 500;

/// Runs the script for the next keys of the database.
///
/// This alone goes through all keys, as no operation of a coordinator does: nothing else would find those that nothing
/// leads to.
pub(super) async fn run(pool: &Pool, cursor: &str) -> Result<Option<Page>, StoreError> {
    let prefix = format!("{}:", pool.key());
    let mut scan = redis::Cmd::new();
    scan.arg("SCAN").arg(cursor).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(COUNT);
    let (next, names): (String, Vec<Vec<u8>>) = pool.store().connection().query_at(pool.key(), &scan).await?;
    let mut args = Args::new();
    args.push(pool.now());
    for name in &names {
        args.push(name.get(prefix.len()..).unwrap_or_default());
    }
    let page = Page::of(pool, &SCRIPT, "audit/keys", &args).await?;
    Ok(page.map(|page| Page { next: Some(next).filter(|next| next != "0"), ..page }))
}
