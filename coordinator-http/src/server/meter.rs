//! What a connection is waiting for, and until when it may.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::{Limits, head::HeadScan};

/// Shared by the parts of one connection. Cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Meter(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Since when the peer takes nothing of what waits to be sent.
    stalled: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// The connection was made and nothing has come.
    Fresh { since: Instant },
    /// A request has begun to come.
    Head { since: Instant, scan: HeadScan },
    /// A request is being served; its body has times of its own.
    Serving,
    /// A reply was given, and no other request has come.
    Idle { since: Instant },
}

impl Meter {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { phase: Phase::Fresh { since: Instant::now() }, stalled: None })))
    }

    /// Bytes have come.
    pub(super) fn read(&self, bytes: &[u8]) {
        let mut state = self.state();
        if bytes.is_empty() || matches!(state.phase, Phase::Serving) {
            return;
        }
        if !matches!(state.phase, Phase::Head { .. }) {
            let since = if let Phase::Fresh { since } = state.phase { since } else { Instant::now() };
            state.phase = Phase::Head { since, scan: HeadScan::default() };
        }
        if let Phase::Head { scan, .. } = &mut state.phase {
            scan.feed(bytes);
        }
    }

    /// A request's head is complete. Says whether it can be read in two ways.
    pub(super) fn begin(&self) -> bool {
        let before = std::mem::replace(&mut self.state().phase, Phase::Serving);
        matches!(before, Phase::Head { scan, .. } if scan.is_ambiguous())
    }

    /// The reply was handed over.
    pub(super) fn end(&self) {
        self.state().phase = Phase::Idle { since: Instant::now() };
    }

    /// Since when the connection waits for another request, if it does.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        match self.state().phase {
            Phase::Idle { since } => Some(since),
            _ => None,
        }
    }

    /// The peer takes what is sent to it, or does not.
    pub(super) fn wrote(&self, stalled: bool) {
        let mut state = self.state();
        state.stalled = if stalled { state.stalled.or_else(|| Some(Instant::now())) } else { None };
    }

    /// When the connection is to be closed if nothing happens before; none while a request is served.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        let state = self.state();
        let phase = match state.phase {
            Phase::Fresh { since } | Phase::Head { since, .. } => Some(since + limits.head),
            Phase::Idle { since } => Some(since + limits.idle),
            Phase::Serving => None,
        };
        let stall = state.stalled.map(|since| since + limits.write_stall);
        phase.into_iter().chain(stall).min()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
