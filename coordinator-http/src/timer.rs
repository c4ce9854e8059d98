//! What one copy does from time to time: it settles what is overdue, and sets its clock.

use std::time::{Duration, Instant};

use titan_api::status::Swept;
use titan_lua::{Pool, StoreError, pool::Sweep};
use tokio::time::{MissedTickBehavior, interval};

use crate::state::AppState;

/// How long one pool is swept at a time.
const SWEEP_FOR: Duration = Duration::from_secs(1);

/// Runs until the coordinator shuts down.
pub(crate) async fn run(state: AppState, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let closing = state.closing();
    while closing.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = state.refresh_clock().await {
            tracing::warn!(component = "timer", error = %error, "the clock of Redis cannot be read");
            continue;
        }
        closing.run_until_cancelled(sweep_all(&state)).await;
    }
}

async fn sweep_all(state: &AppState) {
    let pools = match state.store.pools().await {
        Ok(pools) => pools,
        Err(error) => return tracing::warn!(component = "timer", error = %error, "the pools cannot be listed"),
    };
    for pool in pools {
        match sweep(&state.store.pool(&pool)).await {
            Ok(swept) => {
                tracing::debug!(component = "timer", pool = %pool, settled = swept.settled, more = swept.more, "swept");
            }
            Err(error) => tracing::warn!(component = "timer", pool = %pool, error = %error, "a pool cannot be swept"),
        }
    }
}

/// Settles what is overdue in a pool, until nothing is or a second has passed.
pub(crate) async fn sweep(pool: &Pool) -> Result<Swept, StoreError> {
    let until = Instant::now() + SWEEP_FOR;
    let mut all = Swept { settled: 0, more: true };
    while all.more && Instant::now() < until {
        let swept = Sweep.run(pool).await?;
        all = Swept { settled: all.settled + swept.settled, more: swept.more };
    }
    Ok(all)
}
