//! Whoever waits for an answer is told of to the store as long as he does: should this copy die, nobody does that any more, and the
//! answer ends.

use std::time::Duration;

use titan_api::ids::JobId;
use titan_lua::{Pool, PoolSettings, output::ReadOutput};
use tokio::{task::AbortHandle, time::sleep};

/// How often in the time of a lease, for which the store takes him to wait,
const TIMES_A_LEASE: u64 = 4;
/// and in that of an amnesty after an outage of everybody.
const TIMES_A_TIMEOUT: u64 = 3;
/// An offset that no answer reaches: nothing is to be read.
const BEHIND_ALL: u64 = u64::MAX;

/// Tells the store that the answer of a job is waited for, until this is dropped. It does so by itself, since a client may be slow,
/// or have all of its answer through memory.
pub(crate) struct Presence(AbortHandle);

impl Presence {
    pub(crate) fn begin(pool: Pool, job: JobId, settings: &PoolSettings) -> Self {
        let (lease_ms, timeout_ms) = (settings.lease_ttl_ms, settings.heartbeat_timeout_ms);
        let every = Duration::from_millis((lease_ms / TIMES_A_LEASE).min(timeout_ms / TIMES_A_TIMEOUT));
        let telling = tokio::spawn(async move {
            loop {
                sleep(every).await;
                // What the store does not hear now it hears the next time.
                let here = ReadOutput { job: &job, attempt: None, offset: BEHIND_ALL, since: None, follow: true };
                let _ = here.run(&pool).await;
            }
        });
        Self(telling.abort_handle())
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.abort();
    }
}
