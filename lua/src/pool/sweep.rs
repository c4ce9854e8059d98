//! `pool/sweep`: settles what is overdue.

use titan_api::status::Swept;

use crate::{Pool, StoreError};

/// Settles up to 16 overdue things.
#[derive(Debug, Clone, Copy)]
pub struct Sweep;

impl Sweep {
    /// Runs the script once. The caller repeats it while `more`, for a second at most.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<Swept, StoreError> {
        let _ = pool;
        todo!()
    }
}
