//! Seats for requests that last: so many in all, and of those only a share for one credential.

use crate::{
    error::ApiError,
    server::{Budget, Part},
};

/// One credential may have one seat in so many.
const SHARE: usize = 8;

/// The seats.
#[derive(Debug)]
pub(super) struct Seats {
    free: Budget,
    count: usize,
}

/// A seat; it is free again when this is dropped.
pub(crate) type Seat = Part;

impl Seats {
    pub(super) fn new(count: usize, what: &'static str) -> Self {
        Self { free: Budget::new(count, (count / SHARE).max(1), what), count }
    }

    /// How many seats are taken.
    pub(super) fn taken(&self) -> usize {
        self.count - self.free.free()
    }

    /// A seat for a credential, if there is one and it has not had its share.
    pub(super) fn take(&self, holder: &str) -> Result<Seat, ApiError> {
        self.free.take(holder, 1)
    }
}
