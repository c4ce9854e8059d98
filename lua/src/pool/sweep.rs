//! `pool/sweep`: settles what is overdue.

use titan_api::{status::Swept, time::Timestamp};

use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Frees, "pool/sweep", uses [
    "calls", "key", "int", "clock", "pool", "behind", "event", "record", "sets", "segment", "job", "retention", "ending", "avoid",
    "terms", "agent", "room", "rank", "fit", "capable", "held", "session", "place", "binding", "attempt", "class", "fair",
    "line", "queue", "dependencies", "hold", "catalog", "members", "breaker", "serving", "settle", "due",
]);

/// Settles up to 8 overdue things.
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
            "swept" => {
                let (settled, more) = (reply.parse()?, reply.flag()?);
                Ok(Swept { settled, more, next_at: reply.some()?.map(Timestamp::from_ms) })
            }
            other => Err(unknown_word("pool/sweep", other)),
        }
    }
}
