//! Jobs, from submission to their end.

mod cancel;
mod get;
mod list;
mod submit;

pub use cancel::{CancelJob, CancelOutcome};
pub use get::GetJob;
pub use list::{JobPage, ListJobs};
pub use submit::{Submit, SubmitOutcome};
