//! Which backend gets models onto the box, and whether the operator lets it.

use std::sync::{Arc, atomic::Ordering};

use super::{Backend, Backends};

/// Models that are pulled at once; each takes its share of the line and of the disk.
const PULLS: u32 = 2;

impl Backends {
    /// How many models this agent would pull at once for the pool.
    pub(crate) fn pulls(&self) -> u32 {
        self.pulls.load(Ordering::Relaxed)
    }

    /// Looks whether one could pull; `true` if that has changed.
    pub(super) fn look_for_puller(&self) -> bool {
        let is_allowed = self.policy.as_ref().is_none_or(|policy| policy.lets_pull());
        let pulls = if is_allowed && self.any_puller().is_some() { PULLS } else { 0 };
        self.pulls.swap(pulls, Ordering::Relaxed) != pulls
    }

    /// The backend that is to pull `model`.
    ///
    /// # Errors
    /// Why none is to, in words for whoever asked.
    pub(crate) fn puller(&self, model: &str) -> Result<Arc<Backend>, String> {
        if self.policy.as_ref().is_some_and(|policy| !policy.lets_pull_model(model)) {
            return Err(format!("the policy of this box does not let {model} be pulled"));
        }
        self.any_puller().ok_or_else(|| "no backend of this agent can pull models now".to_owned())
    }

    /// The first that can; where there are several, the operator has named that one first.
    fn any_puller(&self) -> Option<Arc<Backend>> {
        self.list().iter().find(|backend| backend.can_pull()).cloned()
    }
}
