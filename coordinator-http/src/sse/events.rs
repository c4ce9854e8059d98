//! The pool's events as server-sent events, from wherever the reader was, on any copy of the coordinator.
//!
//! An id without data moves a reader's `Last-Event-ID` on, which browsers and our client do: at the beginning, and past
//! events on topics that were not asked for. So whoever comes back misses nothing, and never names an event that is long
//! gone because nothing happened on its topic.

mod head;

use std::{sync::Arc, time::Duration};

use axum::response::{IntoResponse, Response, sse::Event};
use http::HeaderMap;
use titan_api::events::{EventGap, EventList};
use titan_lua::{
    Pool, StoreError,
    events::{ReadEvents, ReadOutcome},
    watch::Topic,
};
use tokio::time::Instant;

use self::head::Head;
pub(crate) use self::head::Heads;
use crate::{
    auth::callers::{EventsRead, KeyCaller},
    error::ApiError,
    routes::events_page,
    sse::{Events, LOOK_EVERY, Pages, Reader, Then, Unread},
    state::AppState,
};

/// The least time between two looks that changes bring about: what happens in a burst is read at once.
pub(crate) const GATHER: Duration = Duration::from_millis(50);

/// The number in `Last-Event-ID`, if there is one.
pub(crate) fn last_event(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let number =
        value.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit())).and_then(|n| n.parse().ok());
    number.map(Some).ok_or_else(|| ApiError::BadRequest("Last-Event-ID must be the number of an event".to_owned()))
}

/// The stream. A place that is lost, or a store that is away, is refused before it begins.
pub(crate) async fn follow(
    state: AppState,
    caller: KeyCaller<EventsRead>,
    prefix: &str,
    after: Option<u64>,
    from_ms: Option<i64>,
) -> Result<Response, ApiError> {
    let seat = state.waiters.reader(&caller.owner)?;
    let pool = caller.pool;
    let watch = pool.watch(Topic::Events).await?;
    let list = events_page(&pool, prefix, after).await?;
    let mut pages = EventPages {
        head: state.heads.join(pool.name()),
        pool,
        prefix: prefix.to_owned(),
        from_ms,
        after: after.unwrap_or(list.next_after),
        is_at_head: false,
        placed: Instant::now(),
    };
    let mut events = Events::new();
    pages.place(&mut events);
    let then = pages.take(&list, &mut events);
    Ok(Reader { state, watch, _seat: seat, pages }.begin(events, then).into_response())
}

/// A pool's events, page by page.
struct EventPages {
    /// What the readers of this pool read together, if they do.
    head: Option<Arc<Head>>,
    pool: Pool,
    prefix: String,
    /// From when on events are wanted, milliseconds since the epoch.
    from_ms: Option<i64>,
    /// The last event that the reader was told, or that was passed over.
    after: u64,
    /// Whether it had been told everything when it last looked.
    is_at_head: bool,
    /// When its place was told last.
    placed: Instant,
}

impl Pages for EventPages {
    const GATHER: Duration = GATHER;

    async fn look(&mut self, heard: Instant, events: &mut Events) -> Result<Then, Unread> {
        if let Some(head) = self.head.as_ref().filter(|_| self.is_at_head)
            && let Some(list) = head.page(&self.pool, self.after, heard).await?
        {
            return Ok(self.take(&list, events));
        }
        self.look_alone(events).await.map_err(Unread::from)
    }
}

impl EventPages {
    async fn look_alone(&mut self, events: &mut Events) -> Result<Then, StoreError> {
        match (ReadEvents { after: Some(self.after), prefix: &self.prefix }).run(&self.pool).await? {
            ReadOutcome::Events(list) => Ok(self.take(&list, events)),
            ReadOutcome::Lost { first } => {
                self.after = first.saturating_sub(1);
                self.push(Event::default().event("gap").json_data(EventGap { next: first }), events);
                Ok(Then::More)
            }
        }
    }

    /// Takes what it asked for out of a page, which may be one for all.
    fn take(&mut self, list: &EventList, events: &mut Events) -> Then {
        for event in &list.events {
            let is_wanted = event.topic.as_str().starts_with(&self.prefix)
                && self.from_ms.is_none_or(|from| event.at.as_ms() >= from);
            if event.id > self.after && is_wanted {
                self.after = event.id;
                self.push(Event::default().event("event").json_data(event), events);
            }
        }
        let passed_over = list.next_after > self.after;
        self.after = self.after.max(list.next_after);
        self.is_at_head = !list.more;
        if passed_over && self.placed.elapsed() >= LOOK_EVERY {
            self.place(events);
        }
        if list.more { Then::More } else { Then::Rest }
    }

    /// Tells where the reader is, in an event without data.
    fn place(&mut self, events: &mut Events) {
        self.push(Ok(Event::default()), events);
    }

    fn push(&mut self, event: Result<Event, axum::Error>, events: &mut Events) {
        if let Ok(event) = event {
            self.placed = Instant::now();
            events.push_back(event.id(self.after.to_string()));
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_reader_resumes_after_a_number_and_after_nothing_else() {
        let last = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("last-event-id", HeaderValue::from_str(text).unwrap());
            last_event(&headers)
        };
        assert_eq!(last("7").unwrap(), Some(7));
        assert_eq!(last_event(&HeaderMap::new()).unwrap(), None);
        for wrong in ["", "-1", "+1", "1-2", "a", "18446744073709551616"] {
            assert!(last(wrong).is_err(), "{wrong}");
        }
    }
}
