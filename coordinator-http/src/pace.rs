//! How often agents should call, and how soon they should send output.
//!
//! Where agents park, a heartbeat is only a sign of life. Where nobody parks, heartbeats also fetch work, so their pace
//! follows the pool's use: each second for five minutes after a client has called this copy, then ever slower.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use titan_api::{ids::PoolName, limits};

use crate::{config::Settings, jitter};

/// Pause between two calls while a pool is in use, milliseconds: the longest at which an agent counts as at hand.
const BUSY_POLL_MS: u64 = 1_000;
/// How long a pool counts as in use after a client has called.
const BUSY_FOR: Duration = Duration::from_mins(5);
/// After that, the pause doubles once in this time.
const DOUBLES_EVERY_S: u64 = 60;
/// How many pools are remembered.
const POOLS: usize = 10_000;

/// The pace of all pools, as this copy sees them.
#[derive(Debug)]
pub(crate) struct Pace {
    parking: bool,
    heartbeat_interval_ms: u64,
    idle_poll_ms: u64,
    /// The longest pause of an agent that holds attempts: three of its heartbeats may be lost before a lease ends.
    holding_pause_ms: u64,
    called: Mutex<HashMap<PoolName, Instant>>,
}

impl Pace {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            parking: settings.parking,
            heartbeat_interval_ms: settings.heartbeat_interval_ms,
            idle_poll_ms: settings.idle_poll_ms,
            holding_pause_ms: settings.pool.lease_ttl_ms / 4,
            called: Mutex::default(),
        }
    }

    /// Whether agents hold a request open until there is work.
    pub(crate) fn parking(&self) -> bool {
        self.parking
    }

    pub(crate) fn heartbeat_interval_ms(&self) -> u64 {
        self.heartbeat_interval_ms
    }

    /// A client has called in this pool.
    pub(crate) fn client_called(&self, pool: &PoolName) {
        if self.parking {
            return;
        }
        let mut called = self.called();
        if called.len() >= POOLS {
            called.clear();
        }
        called.insert(pool.clone(), Instant::now());
    }

    /// When an agent should heartbeat next, milliseconds from now; `holds` is whether it has attempts.
    pub(crate) fn next_heartbeat_ms(&self, pool: &PoolName, holds: bool) -> u64 {
        let pause_ms = if self.parking { jitter::ten_percent(self.heartbeat_interval_ms) } else { self.poll_ms(pool) };
        if holds { pause_ms.min(self.holding_pause_ms) } else { pause_ms }
    }

    /// When an agent should claim next, milliseconds from now.
    pub(crate) fn poll_after_ms(&self, pool: &PoolName) -> u64 {
        if self.parking { 0 } else { self.poll_ms(pool) }
    }

    /// For how long an agent that calls again after `poll_ms` counts as at hand.
    pub(crate) fn reachable_ms(poll_ms: u64) -> u64 {
        if poll_ms <= BUSY_POLL_MS { poll_ms } else { 0 }
    }

    /// How long agents should gather output before they send it, milliseconds.
    pub(crate) fn flush_ms(&self, watched: bool) -> u64 {
        match (watched, self.parking) {
            (true, true) => 25,
            (true, false) => 500,
            (false, _) => 1_000,
        }
    }

    /// The longest wait of a read, milliseconds.
    pub(crate) fn longest_read_wait_ms(&self) -> u64 {
        if self.parking { limits::READ_WAIT_MS } else { 2_000 }
    }

    fn poll_ms(&self, pool: &PoolName) -> u64 {
        let idle = self.called().get(pool).map(Instant::elapsed);
        let pause_ms = pause_ms(idle, self.idle_poll_ms);
        if pause_ms == BUSY_POLL_MS { BUSY_POLL_MS - jitter::random_below(100) } else { jitter::ten_percent(pause_ms) }
    }

    fn called(&self) -> MutexGuard<'_, HashMap<PoolName, Instant>> {
        self.called.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pause in a pool where the last client called `idle` ago, or never.
fn pause_ms(idle: Option<Duration>, idle_poll_ms: u64) -> u64 {
    let Some(over) = idle.map(|idle| idle.saturating_sub(BUSY_FOR)) else { return idle_poll_ms };
    if over.is_zero() {
        return BUSY_POLL_MS;
    }
    let doublings = u32::try_from(1 + over.as_secs() / DOUBLES_EVERY_S).unwrap_or(u32::MAX).min(30);
    (BUSY_POLL_MS << doublings).min(idle_poll_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_of_a_pool_in_use_call_each_second_and_slow_down_when_it_is_idle() {
        let pause = |idle_s| pause_ms(Some(Duration::from_secs(idle_s)), 30_000);
        assert_eq!([0, 299, 300].map(pause), [1_000; 3]);
        assert_eq!(
            [301, 359, 360, 420, 480, 540, 100_000].map(pause),
            [2_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
        );
        assert_eq!(pause_ms(None, 30_000), 30_000);
    }

    #[test]
    fn only_an_agent_that_comes_back_within_a_second_counts_as_at_hand() {
        assert_eq!((Pace::reachable_ms(950), Pace::reachable_ms(2_000)), (950, 0));
    }
}
