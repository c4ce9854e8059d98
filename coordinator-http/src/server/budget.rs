//! What there is only so much of in the whole process, as memory for what peers send and get; and one credential has a share of
//! it at most.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// Things of one kind, as bytes, that are held at once.
#[derive(Debug)]
pub(crate) struct Budget {
    free: Arc<Semaphore>,
    taken: Arc<Taken>,
    share: usize,
    /// What they are, for the message.
    what: &'static str,
}

/// How many each credential has.
#[derive(Debug, Default)]
struct Taken(Mutex<HashMap<String, usize>>);

impl Taken {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was taken of a budget; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Part {
    permit: OwnedSemaphorePermit,
    of_holder: OfHolder,
}

#[derive(Debug)]
struct OfHolder {
    holder: String,
    count: usize,
    taken: Arc<Taken>,
}

impl Budget {
    /// A budget of so many, of which one credential may have so many.
    pub(crate) fn new(count: usize, share: usize, what: &'static str) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), taken: Arc::default(), share, what }
    }

    /// How many are free.
    pub(crate) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Takes so many for a credential until the part is dropped.
    pub(crate) fn take(&self, holder: &str, count: usize) -> Result<Part, ApiError> {
        let full = |of| ApiError::Overloaded(format!("too many {} here already{of}", self.what));
        let mut taken = self.taken.lock();
        let has = taken.get(holder).copied().unwrap_or(0);
        if has + count > self.share {
            return Err(full(" for this credential"));
        }
        let permits = u32::try_from(count).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.free).try_acquire_many_owned(permits).map_err(|_| full(""))?;
        taken.insert(holder.to_owned(), has + count);
        Ok(Part { permit, of_holder: OfHolder { holder: holder.to_owned(), count, taken: Arc::clone(&self.taken) } })
    }
}

impl Part {
    /// Adds a part of the same budget that the same credential has taken.
    pub(crate) fn merge(&mut self, more: Self) {
        let Self { permit, mut of_holder } = more;
        self.permit.merge(permit);
        self.of_holder.count += std::mem::take(&mut of_holder.count);
    }
}

impl Drop for OfHolder {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        if let Some(count) = taken.get_mut(&self.holder) {
            *count -= self.count;
            if *count == 0 {
                taken.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_past_the_budget_is_refused_until_others_give_theirs_back() {
        let budget = Budget::new(1_000, 1_000, "bodies are being read");
        let first = budget.take("a", 1_000).unwrap();
        let Err(ApiError::Overloaded(why)) = budget.take("b", 1) else { panic!("it is full") };
        assert_eq!(why, "too many bodies are being read here already");
        drop(first);
        assert!(budget.take("b", 1).is_ok());
    }

    #[test]
    fn one_credential_gets_its_share_and_leaves_the_rest_to_others() {
        let budget = Budget::new(10, 5, "tests run");
        let mut first = budget.take("a", 2).unwrap();
        let second = budget.take("a", 3).unwrap();
        let Err(ApiError::Overloaded(why)) = budget.take("a", 1) else { panic!("it has had its share") };
        assert_eq!(why, "too many tests run here already for this credential");
        let _other = budget.take("b", 5).unwrap();
        first.merge(second);
        assert_eq!(budget.free(), 0);
        drop(first);
        assert!(!budget.taken.lock().contains_key("a"), "nothing is kept of who has left");
        assert_eq!(budget.free(), 5);
        budget.take("a", 5).unwrap();
    }
}
