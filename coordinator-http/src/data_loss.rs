//! A Redis that has lost data: agents run attempts that it must have known. All of a pool may come back at once, so the log gets
//! a few lines and the figures count all.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use titan_api::ids::{AgentId, PoolName};

/// So many lines of a pool are logged within such a time.
const LINES: u32 = 10;
const WITHIN: Duration = Duration::from_mins(1);

const ADVICE: &str = "the agent ends them. Jobs that Redis still knows run again by themselves; the others are gone, so submit \
                      them again, with the same Idempotency-Key";
/// Behind that in the last line.
const NO_MORE: &str = ". Further agents of this minute are not named here: titan_attempts_lost_total counts them";

/// What was lost of each pool, as far as this copy has heard.
#[derive(Debug, Default)]
pub(crate) struct DataLoss(Mutex<BTreeMap<PoolName, Lost>>);

/// What one pool has lost, and how many lines were logged of that since a moment.
#[derive(Debug, Default)]
struct Lost {
    attempts: u64,
    since: Option<Instant>,
    lines: u32,
}

impl DataLoss {
    /// Says that Redis has lost so many attempts of an agent, if any.
    pub(crate) fn tell(&self, agent: &AgentId, pool: &PoolName, attempts: u64) {
        if attempts == 0 {
            return;
        }
        let line = self.lock().entry(pool.clone()).or_default().add(attempts);
        if line > LINES {
            return;
        }
        tracing::warn!(
            component = "agents",
            agent.id = %agent,
            pool = %pool,
            attempts,
            advice = format_args!("{ADVICE}{}", if line < LINES { "" } else { NO_MORE }),
            "an agent runs attempts that Redis does not know: Redis has lost data"
        );
    }

    /// How many attempts were lost since this copy began.
    pub(crate) fn attempts(&self) -> u64 {
        self.lock().values().map(|lost| lost.attempts).sum()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PoolName, Lost>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lost {
    /// Counts them; gives the number of the line that would tell of it, from 1.
    fn add(&mut self, attempts: u64) -> u32 {
        self.attempts = self.attempts.saturating_add(attempts);
        if self.since.is_none_or(|since| since.elapsed() >= WITHIN) {
            (self.since, self.lines) = (Some(Instant::now()), 0);
        }
        self.lines = self.lines.saturating_add(1);
        self.lines
    }
}
