//! Server time: the clock of Redis, as this process last read it.
//!
//! Tokens are made and checked on it, so that a coordinator whose own clock is wrong still agrees with the others.
//! This is the only file of the crate that reads the wall clock.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use titan_lua::{Store, StoreError};

/// The local clock and how far it is from that of Redis. Until the first [`Clock::refresh`] the local clock alone.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset_ms: AtomicI64,
}

impl Clock {
    /// Milliseconds since the epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        local_ms().saturating_add(self.offset_ms.load(Ordering::Relaxed))
    }

    /// Seconds since the epoch, as tokens count them.
    pub(crate) fn now_s(&self) -> i64 {
        self.now_ms().div_euclid(1_000)
    }

    /// Reads the clock of Redis; the answer is taken to be from the middle of the round trip.
    pub(crate) async fn refresh(&self, store: &Store) -> Result<(), StoreError> {
        let before = local_ms();
        let redis_ms = store.now_ms().await?;
        let middle = before + (local_ms() - before) / 2;
        self.offset_ms.store(redis_ms - middle, Ordering::Relaxed);
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
fn local_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
