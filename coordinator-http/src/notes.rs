//! What is found out of a request on its way, for those around it: the extractors and handlers note it, and
//! [`crate::observe`] writes it into the reply.

use std::{cell::RefCell, time::Duration};

use http::{HeaderName, HeaderValue};
use titan_api::trace::TraceContext;

use crate::quotas::Standing;

tokio::task_local! {
    static NOTES: RefCell<Notes>;
}

/// The notes on one request.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// How the API key stands that the request was made with.
    pub(crate) standing: Option<Standing>,
    /// Of which trace the request is a part.
    pub(crate) trace: Option<TraceContext>,
    /// For how long the request waited for something to happen.
    pub(crate) waited: Duration,
    /// The id that the request goes by, if it became a job: that of the job.
    pub(crate) request_id: Option<String>,
    /// More headers of the reply, whatever it is.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// What else the time was spent on, for `Server-Timing`.
    pub(crate) timings: Vec<(&'static str, Duration)>,
}

/// Runs a request with what is known of it before, and gives what was noted. Boxed, since what is moved into another future
/// takes memory twice, for as long as a request may wait.
pub(crate) fn taken<T>(before: Notes, request: impl Future<Output = T>) -> impl Future<Output = (T, Notes)> {
    let mut scope = Box::pin(NOTES.scope(RefCell::new(before), request));
    async move {
        let reply = scope.as_mut().await;
        (reply, scope.as_mut().take_value().map(RefCell::into_inner).unwrap_or_default())
    }
}

/// Notes something on the request that is being served.
pub(crate) fn note(change: impl FnOnce(&mut Notes)) {
    // Outside of a request, in a test of a part, nobody reads them.
    let _ = NOTES.try_with(|notes| change(&mut notes.borrow_mut()));
}

/// Of which trace the request is a part that is being served.
pub(crate) fn trace() -> Option<TraceContext> {
    NOTES.try_with(|notes| notes.borrow().trace.clone()).ok().flatten()
}
