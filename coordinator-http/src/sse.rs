//! Streams of server-sent events: how they are asked for, and what is the same for all of them.

pub(crate) mod events;
pub(crate) mod output;
mod pages;

use http::{HeaderMap, header};

pub(crate) use self::pages::{Events, LOOK_EVERY, Pages, Reader, Then, Unread};

/// Whether the caller accepts a stream.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = accepted.flat_map(|value| value.split(','));
    types.any(|t| t.split(';').next().is_some_and(|t| t.trim().eq_ignore_ascii_case("text/event-stream")))
}
