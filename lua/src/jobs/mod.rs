//! Jobs, from submission to their end.

mod cancel;
mod explanation;
mod get;
mod list;
mod spec;
mod submit;

pub use cancel::{CancelJob, CancelOutcome};
pub use get::GetJob;
pub use list::{JobPage, ListJobs};
pub(crate) use spec::{Need, Spec};
pub use submit::{Submit, SubmitOutcome};
