//! Memory for what peers send and get: so much at once in the whole process, whoever they are.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// Bytes of one kind that are held at once.
#[derive(Debug)]
pub(crate) struct Budget {
    free: Arc<Semaphore>,
    /// What they are, for the message.
    what: &'static str,
}

impl Budget {
    /// A budget of so many bytes.
    pub(crate) fn new(bytes: usize, what: &'static str) -> Self {
        Self { free: Arc::new(Semaphore::new(bytes)), what }
    }

    /// Takes so many bytes until the permit is dropped.
    pub(crate) fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let count = u32::try_from(bytes).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.free).try_acquire_many_owned(count);
        taken.map_err(|_| ApiError::Overloaded(format!("too many {} here already", self.what)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_past_the_budget_are_refused_until_others_are_given_back() {
        let budget = Budget::new(1_000, "bodies are being read");
        let first = budget.take(1_000).unwrap();
        let Err(ApiError::Overloaded(why)) = budget.take(1) else { panic!("it is full") };
        assert_eq!(why, "too many bodies are being read here already");
        drop(first);
        assert!(budget.take(1).is_ok());
    }
}
