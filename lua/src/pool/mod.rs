//! A pool as a whole: its settings, weights, counts, and what is overdue in it.

mod backlog;
mod open;
mod scheduler;
mod status;
mod sweep;

pub use backlog::{Backlog, ReadBacklog};
pub use open::PoolSettings;
pub(crate) use open::open;
pub(crate) use scheduler::weights;
pub use scheduler::{GetScheduler, SetScheduler};
pub use status::ReadStatus;
pub use sweep::Sweep;

use crate::script::Script;

/// The scripts of this noun.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&backlog::SCRIPT, &open::SCRIPT, &scheduler::SCRIPT, &status::SCRIPT, &sweep::SCRIPT]
}
