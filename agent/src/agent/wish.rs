//! What an agent asks for.

use titan_api::ids::LeaseId;

use super::Agent;

/// How much work an agent could begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wish {
    /// Process jobs.
    pub slots: u32,
    /// Requests to models.
    pub requests: u32,
}

impl Wish {
    pub(crate) fn is_any(self) -> bool {
        self != Self::default()
    }

    /// Whether there is a kind of work that `asked` did not ask for at all.
    pub(crate) fn has_more_kinds_than(self, asked: Self) -> bool {
        (asked.slots == 0 && self.slots > 0) || (asked.requests == 0 && self.requests > 0)
    }
}

impl Agent {
    /// Whether the agent takes work at all.
    pub(crate) fn is_open(&self) -> bool {
        !*self.draining.borrow() && !*self.leaving.borrow()
    }

    /// Whether the disk has room for jobs.
    pub(crate) fn has_room(&self) -> bool {
        self.why_disk_is_short.borrow().is_none()
    }

    /// How much work the agent should ask for.
    pub(crate) fn wish(&self) -> Wish {
        self.wish_without(&[])
    }

    /// How much it should ask for once these attempts are forgotten.
    pub(crate) fn wish_without(&self, ended: &[LeaseId]) -> Wish {
        if !self.is_open() {
            return Wish::default();
        }
        let jobs = self.config.allow_jobs && self.has_room();
        let slots = if jobs { self.attempts.free_slots(ended) } else { 0 };
        Wish { slots, requests: self.attempts.free_requests(ended) }
    }
}
