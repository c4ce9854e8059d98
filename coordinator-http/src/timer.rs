//! What one copy does from time to time: it settles what is overdue, sets its clock, and checks Redis whenever that is there anew.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use titan_api::{status::Swept, time::Timestamp};
use titan_lua::{Pool, StoreError, pool::Sweep};
use tokio::{sync::Notify, time::sleep_until};

use crate::state::AppState;

/// How long one pool is swept at a time.
const SWEEP_FOR: Duration = Duration::from_secs(1);
/// No copy sweeps more often.
const SHORTEST: Duration = Duration::from_secs(1);
/// How soon it looks again for a Redis that does not answer.
const AWAY: Duration = Duration::from_secs(5);

/// When this copy next settles what is overdue. Others do so too, so an alarm that is lost with its copy is only late.
#[derive(Debug)]
pub(crate) struct Alarm {
    at: Mutex<Instant>,
    earlier: Notify,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { at: Mutex::new(Instant::now()), earlier: Notify::new() }
    }
}

impl Alarm {
    /// Goes off within this time.
    pub(crate) fn within(&self, wait: Duration) {
        let at = Instant::now() + wait.max(SHORTEST);
        let mut set = self.lock();
        if at < *set {
            *set = at;
            drop(set);
            self.earlier.notify_one();
        }
    }

    /// Goes off when a job's time has come. `now_ms` is the time of Redis.
    pub(crate) fn at(&self, time: Timestamp, now_ms: i64) {
        self.within(Duration::from_millis(u64::try_from(time.as_ms() - now_ms).unwrap_or(0)));
    }

    fn set(&self, wait: Duration) {
        *self.lock() = Instant::now() + wait;
    }

    /// Waits until it goes off.
    async fn rings(&self) {
        loop {
            let at = *self.lock();
            tokio::select! {
                () = sleep_until(at.into()) => return,
                () = self.earlier.notified() => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until the coordinator shuts down: sweeps when something falls due, and every so often in any case.
pub(crate) async fn run(state: AppState, every: Duration) {
    let closing = state.closing();
    let mut redis = Redis::NotSeen;
    while closing.run_until_cancelled(state.alarm.rings()).await.is_some() {
        state.alarm.set(every);
        if let Err(error) = state.refresh_clock().await {
            state.alarm.within(AWAY);
            if redis != Redis::Away {
                tracing::warn!(
                    component = "timer",
                    redis = state.store.address(),
                    error = %error,
                    "Redis does not answer as it should: requests get 503 until it does"
                );
            }
            redis = Redis::Away;
            continue;
        }
        if redis == Redis::Away {
            tracing::info!(component = "timer", "Redis answers");
        }
        if redis != Redis::Seen {
            closing.run_until_cancelled(state.checked.checks(&state.store)).await;
        }
        redis = Redis::Seen;
        closing.run_until_cancelled(sweep_all(&state)).await;
    }
}

/// How Redis was when this copy last looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Redis {
    NotSeen,
    Away,
    Seen,
}

async fn sweep_all(state: &AppState) {
    let pools = match state.store.pools().await {
        Ok(pools) => pools,
        Err(error) => return tracing::warn!(component = "timer", error = %error, "the pools cannot be listed"),
    };
    for pool in pools {
        match sweep(&state.store.pool(&pool)).await {
            Ok(swept) => {
                if let Some(time) = swept.next_at {
                    state.alarm.at(time, state.clock.now_ms());
                }
                tracing::debug!(component = "timer", pool = %pool, settled = swept.settled, more = swept.more, "swept");
            }
            Err(error) => tracing::warn!(component = "timer", pool = %pool, error = %error, "a pool cannot be swept"),
        }
    }
}

/// Settles what is overdue in a pool, until nothing is or a second has passed.
pub(crate) async fn sweep(pool: &Pool) -> Result<Swept, StoreError> {
    let until = Instant::now() + SWEEP_FOR;
    let mut all = Swept { settled: 0, more: true, next_at: None };
    while all.more && Instant::now() < until {
        let swept = Sweep.run(pool).await?;
        all = Swept { settled: all.settled + swept.settled, ..swept };
    }
    Ok(all)
}
