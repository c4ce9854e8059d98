//! Memory for bodies: so much at once in the whole process, whoever sends them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// Bytes of bodies that are being read or made sense of at once.
const BYTES: usize = 256 * 1_024 * 1_024;

/// The memory that is left for bodies.
#[derive(Debug)]
pub(crate) struct BodyBudget(Arc<Semaphore>);

impl Default for BodyBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BYTES)))
    }
}

impl BodyBudget {
    /// Takes so many bytes until the permit is dropped.
    pub(crate) fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let count = u32::try_from(bytes).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.0).try_acquire_many_owned(count);
        taken.map_err(|_| ApiError::Overloaded("too many bodies are being read here already".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_past_the_budget_are_refused_until_others_are_done() {
        let budget = BodyBudget::default();
        let first = budget.take(BYTES).unwrap();
        assert!(matches!(budget.take(1), Err(ApiError::Overloaded(_))));
        drop(first);
        assert!(budget.take(1).is_ok());
    }
}
