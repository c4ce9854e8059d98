//! A Redis that has lost data: agents run attempts that it must have known. All of a pool may come back at once, so the log gets
//! a few lines and the figures count all.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use titan_api::ids::{AgentId, PoolName};

/// So many lines are logged within such a time.
const LINES: u32 = 10;
const WITHIN: Duration = Duration::from_mins(1);

const ADVICE: &str = "the agent ends them. Jobs that Redis still knows run again by themselves; the others are gone, so submit \
                      them again, with the same Idempotency-Key";
/// Behind that in the last line.
const NO_MORE: &str = ". Further agents of this minute are not named here: titan_attempts_lost_total counts them";

/// What was lost, as far as this copy has heard.
#[derive(Debug, Default)]
pub(crate) struct DataLoss {
    attempts: AtomicU64,
    lines: Mutex<Lines>,
}

/// The lines since a moment.
#[derive(Debug, Default)]
struct Lines {
    since: Option<Instant>,
    count: u32,
}

impl DataLoss {
    /// Says that Redis has lost so many attempts of an agent.
    pub(crate) fn tell(&self, agent: &AgentId, pool: &PoolName, attempts: u64) {
        self.attempts.fetch_add(attempts, Ordering::Relaxed);
        let line = self.next_line();
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
        self.attempts.load(Ordering::Relaxed)
    }

    /// The number of the line that would be next, from 1.
    fn next_line(&self) -> u32 {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.since.is_none_or(|since| since.elapsed() >= WITHIN) {
            *lines = Lines { since: Some(Instant::now()), count: 0 };
        }
        lines.count = lines.count.saturating_add(1);
        lines.count
    }
}
