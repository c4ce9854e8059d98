//! What this run of the agent has seen, for those who ask at the box: counted here and told nowhere else.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use titan_api::{agents::Measures, work::Happening};

use crate::clock;

/// Counters and last values of one run.
#[derive(Debug, Default)]
pub(crate) struct Vitals(Mutex<Seen>);

/// All of them at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Heartbeats that were answered, and that were not or were refused.
    pub heartbeats_ok: u64,
    pub heartbeats_failed: u64,
    /// When the last answered one was sent, on the box's clock.
    pub last_heartbeat_ms: Option<u64>,
    /// Attempts that have ended, by how.
    pub ended: BTreeMap<&'static str, u64>,
    /// What was measured last.
    pub measures: Measures,
}

impl Vitals {
    /// A heartbeat that was sent at `sent_ms` was answered, or not.
    pub(crate) fn heartbeat(&self, sent_ms: u64, is_ok: bool) {
        let mut seen = self.lock();
        if is_ok {
            seen.heartbeats_ok += 1;
            seen.last_heartbeat_ms = Some(sent_ms);
        } else {
            seen.heartbeats_failed += 1;
        }
    }

    /// An attempt ended like this; `None` if it was no longer this agent's.
    pub(crate) fn ended(&self, how: Option<&Happening>) {
        *self.lock().ended.entry(word(how)).or_default() += 1;
    }

    /// The box was measured.
    pub(crate) fn measured(&self, measures: &Measures) {
        self.lock().measures = measures.clone();
    }

    /// What was seen until now.
    pub(crate) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How an attempt ended, in one word.
pub(crate) fn word(how: Option<&Happening>) -> &'static str {
    match how {
        None => "revoked",
        Some(Happening::Completed { .. }) => "completed",
        Some(Happening::Cancelled {}) => "cancelled",
        Some(Happening::Released {}) => "released",
        Some(Happening::Failed { reason, .. }) => reason.as_str(),
        // No ends.
        Some(Happening::Started {}) => "started",
        Some(Happening::Output { .. }) => "output",
    }
}

impl Seen {
    /// How long ago the last answered heartbeat was sent, milliseconds; `None` if none was answered yet.
    pub(crate) fn heartbeat_age_ms(&self) -> Option<u64> {
        self.last_heartbeat_ms.map(|at_ms| clock::now_ms().saturating_sub(at_ms))
    }
}
