//! The models of each pool's agents, as this copy read them last. Reading them goes through the whole registry, and clients
//! ask for them again and again: all who ask share one run, and keep what it found for a moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use titan_api::{ids::PoolName, inference::FleetModel};
use titan_lua::{Pool, StoreError, models::ListModels};
use tokio::time::Instant;

/// How long a list is good at least.
const GOOD_FOR: Duration = Duration::from_millis(500);
/// And how often as long as it took to read, so that this takes a twentieth of Redis' time at most.
const TIMES_AS_LONG: u32 = 20;
/// But no longer than this: a Redis that stood still once is no reason to know nothing new for minutes.
const AT_MOST: Duration = Duration::from_secs(5);

/// The lists of this copy.
#[derive(Debug, Default)]
pub(crate) struct Fleets(Mutex<HashMap<PoolName, Arc<Fleet>>>);

type Fleet = tokio::sync::Mutex<Known>;

#[derive(Debug, Default)]
struct Known {
    list: Option<(Arc<[FleetModel]>, Instant)>,
    /// When a run failed last, and why: those who waited for it are told the same.
    failure: Option<(Instant, String)>,
}

impl Fleets {
    /// The models of a pool, at most a moment old.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub(crate) async fn models(&self, pool: &Pool) -> Result<Arc<[FleetModel]>, StoreError> {
        let asked = Instant::now();
        let fleet = Arc::clone(self.lock().entry(pool.name().clone()).or_default());
        let mut known = fleet.lock().await;
        if let Some((list, _)) = known.list.as_ref().filter(|(_, good_until)| Instant::now() < *good_until) {
            return Ok(Arc::clone(list));
        }
        if let Some((_, why)) = known.failure.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(StoreError::Unavailable(why.clone()));
        }
        let began = Instant::now();
        let list = match ListModels.run(pool).await {
            Ok(list) => Arc::from(list),
            Err(e) => {
                known.failure = Some((Instant::now(), e.to_string()));
                return Err(e);
            }
        };
        known.list = Some((Arc::clone(&list), Instant::now() + good_for(began.elapsed())));
        Ok(list)
    }

    /// Has the list of a pool read anew: an administrator has changed what is in it.
    pub(crate) fn forget(&self, pool: &PoolName) {
        self.lock().remove(pool);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PoolName, Arc<Fleet>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a list is good that took so long to read.
fn good_for(took: Duration) -> Duration {
    took.saturating_mul(TIMES_AS_LONG).clamp(GOOD_FOR, AT_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_good_for_a_moment_longer_if_it_was_dear_and_never_for_long() {
        let good_for_ms = |took_ms| good_for(Duration::from_millis(took_ms)).as_millis();
        assert_eq!([0, 10, 100, 240, 30_000].map(good_for_ms), [500, 500, 2_000, 4_800, 5_000]);
    }
}
