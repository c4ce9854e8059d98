//! What is the same for all streams of server-sent events.

use std::time::Duration;

use http::{HeaderMap, header};

/// How long one stream lasts; its reader then comes back with `Last-Event-ID`.
pub(crate) const LONGEST: Duration = Duration::from_hours(1);
/// How often a comment shows that the stream lives.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often, and how long, a stream outlives an outage of Redis.
pub(crate) const RETRY_EVERY: Duration = Duration::from_secs(1);
pub(crate) const RETRIES: u32 = 30;

/// Whether the caller accepts a stream.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = accepted.flat_map(|value| value.split(','));
    types.any(|t| t.split(';').next().is_some_and(|t| t.trim().eq_ignore_ascii_case("text/event-stream")))
}
