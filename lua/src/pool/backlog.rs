//! `pool/backlog`: how much a pool has to look after.

use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Reads, "pool/backlog", uses ["calls", "key", "clock", "pool"]);

/// Reads how much a pool has to look after.
#[derive(Debug, Clone, Copy)]
pub struct ReadBacklog;

/// How much it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Things whose time has come and that nobody has settled yet.
    pub overdue: u64,
    /// Things that could not be settled, since their record is broken.
    pub broken: u64,
    /// Classes of jobs for which agents are ranked.
    pub classes: u64,
    /// Classes of which jobs wait for an agent.
    pub waiting_classes: u64,
}

impl ReadBacklog {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<Backlog, StoreError> {
        let mut args = Args::new();
        args.push(pool.now());
        let (word, mut r) = pool.call(&SCRIPT, &args).await?;
        if word != "backlog" {
            return Err(unknown_word("pool/backlog", &word));
        }
        Ok(Backlog { overdue: r.parse()?, broken: r.parse()?, classes: r.parse()?, waiting_classes: r.parse()? })
    }
}
