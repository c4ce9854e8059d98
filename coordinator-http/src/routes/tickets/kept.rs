//! The place that is kept for a ticket, until its client has it: of one who goes away before that, it is given back, so that
//! clients which lose patience under load do not hold for 15 seconds each what others wait for.

use std::time::Duration;

use titan_api::ids::JobId;
use titan_lua::{
    Pool,
    jobs::{CancelJob, CancelOutcome},
};
use tokio::{runtime::Handle, time::sleep};

/// A ticket that is not there by then never will be: no command takes as long.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// A place that may be kept; it is given back when this is dropped.
pub(super) struct Kept(Option<(Pool, JobId)>);

impl Kept {
    /// The place for the ticket of that id.
    pub(super) fn new(pool: &Pool, id: &JobId) -> Self {
        Self(Some((pool.clone(), id.clone())))
    }

    /// There is none, or the client has it.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let (Some((pool, id)), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(give_back(pool, id));
        }
    }
}

/// Ends a ticket that nobody has. What fails is made good by time: the place is kept for seconds only.
async fn give_back(pool: Pool, id: JobId) {
    let cancel = CancelJob { job: &id };
    if let Ok(CancelOutcome::NotFound) = cancel.run(&pool).await {
        sleep(ON_ITS_WAY).await;
        let _ = cancel.run(&pool).await;
    }
}
