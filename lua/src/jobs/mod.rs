//! Jobs, from submission to their end.

mod cancel;
mod explanation;
mod get;
mod list;
mod retry;
mod spec;
mod submit;
mod together;
mod why;

pub use cancel::{CancelJob, CancelOutcome};
pub use get::GetJob;
pub use list::{JobPage, ListJobs};
pub use retry::{RetryJob, RetryOutcome};
pub(crate) use spec::{Need, Spec};
pub use submit::{Idempotency, NewJob, Submit, SubmitOutcome, Submitted};
pub(crate) use together::Together;
pub use why::WhyWaiting;
