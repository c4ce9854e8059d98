//! Seats for requests that last: so many in all, and of those only a share for one credential.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// One credential may have one seat in so many.
const SHARE: usize = 8;

/// The seats.
#[derive(Debug)]
pub(super) struct Seats {
    free: Arc<Semaphore>,
    taken: Arc<Taken>,
    count: usize,
    share: usize,
    /// What whoever sits here does, for the message.
    what: &'static str,
}

/// How many seats each credential has.
#[derive(Debug, Default)]
struct Taken(Mutex<HashMap<String, usize>>);

impl Taken {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A seat; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    holder: String,
    taken: Arc<Taken>,
    _permit: OwnedSemaphorePermit,
}

impl Seats {
    pub(super) fn new(count: usize, what: &'static str) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count)),
            taken: Arc::default(),
            count,
            share: (count / SHARE).max(1),
            what,
        }
    }

    /// How many seats are taken.
    pub(super) fn taken(&self) -> usize {
        self.count - self.free.available_permits()
    }

    /// A seat for a credential, if there is one and it has not had its share.
    pub(super) fn take(&self, holder: &str) -> Result<Seat, ApiError> {
        let full = |of| ApiError::Overloaded(format!("too many {} here already{of}", self.what));
        let mut taken = self.taken.lock();
        if taken.get(holder).is_some_and(|count| *count >= self.share) {
            return Err(full(" for this credential"));
        }
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(|_| full(""))?;
        *taken.entry(holder.to_owned()).or_default() += 1;
        Ok(Seat { holder: holder.to_owned(), taken: Arc::clone(&self.taken), _permit: permit })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        if let Some(count) = taken.get_mut(&self.holder) {
            *count -= 1;
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
    fn one_credential_gets_its_share_and_leaves_the_rest_to_others() {
        let seats = Seats::new(16, "tests sit");
        let first = seats.take("a").unwrap();
        let second = seats.take("a").unwrap();
        assert!(seats.take("a").is_err());
        let _other = seats.take("b").unwrap();
        drop(first);
        seats.take("a").unwrap();
        drop(second);
        assert!(!seats.taken.lock().contains_key("a"), "nothing is kept of who has left");
    }
}
