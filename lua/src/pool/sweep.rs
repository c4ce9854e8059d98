//! `pool/sweep`: settles what is overdue.

use titan_api::status::Swept;

use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Frees, "pool/sweep", uses [
    "key", "int", "clock", "pool", "record", "segment", "job", "ending", "avoid", "agent", "room", "rank", "fit",
    "capable", "held", "place", "binding", "attempt", "fair", "queue", "class", "hold", "members",
    "breaker", "settle", "due",
]);

/// Settles up to 16 overdue things.
#[derive(Debug, Clone, Copy)]
pub struct Sweep;

impl Sweep {
    /// Runs the script once. The caller repeats it while `more`, for a second at most.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<Swept, StoreError> {
        let mut args = Args::new();
        args.push(pool.now());
        let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
        match word.as_str() {
            "swept" => Ok(Swept { settled: reply.parse()?, more: reply.flag()? }),
            other => Err(unknown_word("pool/sweep", other)),
        }
    }
}
