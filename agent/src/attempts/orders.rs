//! What an attempt is told while it runs.

/// Why an attempt is to end. A later one in this list overrides an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// The agent hands it back.
    Release,
    /// Somebody cancelled the job.
    Cancel,
    /// The coordinator has disowned its lease; nothing of it is to be reported.
    Revoke,
}

/// The orders for one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Orders {
    /// When it is to be ended unless it is renewed, on the box's clock; `None` while only its shim knows.
    pub deadline_ms: Option<u64>,
    /// Whether it is to end before.
    pub stop: Option<Stop>,
    /// Whether it is to end without grace.
    pub at_once: bool,
}

impl Orders {
    pub(super) fn until(deadline_ms: Option<u64>) -> Self {
        Self { deadline_ms, stop: None, at_once: false }
    }

    /// Moves the deadline; never back, since a slow answer may come after a quick one.
    pub(super) fn extend(&mut self, deadline_ms: u64) -> bool {
        let later = Some(deadline_ms) > self.deadline_ms;
        self.deadline_ms = self.deadline_ms.max(Some(deadline_ms));
        later
    }

    pub(super) fn stop(&mut self, stop: Stop) -> bool {
        let stronger = Some(stop) > self.stop;
        self.stop = self.stop.max(Some(stop));
        stronger
    }
}
