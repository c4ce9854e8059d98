//! `pool/scheduler`: the weights of a pool.

use titan_api::scheduler::{Profile, Scheduler, Weights};

use crate::{Pool, StoreError};

/// Reads the weights.
#[derive(Debug, Clone, Copy)]
pub struct GetScheduler;

impl GetScheduler {
    /// Reads them.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<Scheduler, StoreError> {
        let _ = pool;
        todo!()
    }
}

/// Sets the weights; agents are scored anew as they are touched. The same weights again change nothing.
#[derive(Debug, Clone, Copy)]
pub struct SetScheduler {
    /// The profile's name.
    pub profile: Profile,
    /// Its weights: none negative, summing to 1.
    pub weights: Weights,
}

impl SetScheduler {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<Scheduler, StoreError> {
        let _ = pool;
        todo!()
    }
}
