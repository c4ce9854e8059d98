//! Jobs, from submission to their end.

mod afford;
mod cancel;
mod explanation;
mod get;
mod list;
mod retry;
mod spec;
mod submit;
mod why;

pub(crate) use afford::KnownClasses;
pub use cancel::{CancelJob, CancelOutcome};
pub(crate) use explanation::explanation;
pub use get::GetJob;
pub use list::{JobPage, ListJobs};
pub use retry::{RetryJob, RetryOutcome};
pub(crate) use spec::{Kept, Need, Spec, class_of};
pub use submit::{Idempotency, NewJob, Submit, SubmitOutcome, Submitted, Terms};
pub(crate) use submit::{Submissions, as_submitted};
pub use why::WhyWaiting;

use crate::script::Script;

/// The scripts of this noun.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&afford::SCRIPT, &cancel::SCRIPT, &get::SCRIPT, &list::SCRIPT, &retry::SCRIPT, &submit::SCRIPT, &why::SCRIPT]
}
