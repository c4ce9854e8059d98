//! The pool's events as server-sent events, from wherever the reader was, on any copy of the coordinator.
//!
//! An id without data moves a reader's `Last-Event-ID` on, which browsers and our client do: at the beginning, and past
//! events on topics that were not asked for. So whoever comes back misses nothing, and never names an event that is long
//! gone because nothing happened on its topic.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::response::{
    Sse,
    sse::{Event, KeepAlive},
};
use futures_util::{Stream, stream};
use http::HeaderMap;
use titan_api::events::{EventGap, EventList};
use titan_lua::{
    Pool, StoreError,
    events::{ReadEvents, ReadOutcome},
    watch::{Topic, Watch},
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    auth::callers::{EventsRead, KeyCaller},
    error::ApiError,
    routes::events_page,
    sse::{KEEP_ALIVE, LONGEST, RETRIES, RETRY_EVERY},
    state::AppState,
    waiters::Seat,
};

/// How often a reader that hears of no change looks by itself, and how often its place is told anew.
const LOOK_EVERY: Duration = Duration::from_secs(10);
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
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, ApiError> {
    let seat = state.waiters.reader(&caller.owner)?;
    let pool = caller.pool;
    let watch = pool.watch(Topic::Events).await?;
    let begun = Instant::now();
    let list = events_page(&pool, prefix, after).await?;
    let mut reader = Reader {
        state,
        pool,
        prefix: prefix.to_owned(),
        after: after.unwrap_or(list.next_after),
        watch,
        ready: VecDeque::new(),
        until: begun + LONGEST,
        looked: begun,
        placed: begun,
        more: false,
        _seat: seat,
    };
    reader.place();
    reader.take(list);
    let events = stream::unfold(reader, |mut reader| async move { Some((Ok(reader.next().await?), reader)) });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// One reader of a pool's events.
struct Reader {
    state: AppState,
    pool: Pool,
    prefix: String,
    /// The last event that it was told, or that was passed over.
    after: u64,
    watch: Watch,
    ready: VecDeque<Event>,
    until: Instant,
    looked: Instant,
    /// When its place was told last.
    placed: Instant,
    /// Whether more is there to be read at once.
    more: bool,
    _seat: Seat,
}

impl Reader {
    /// The next event; none at a shutdown, after too long an outage, and when the stream has lasted long enough.
    async fn next(&mut self) -> Option<Event> {
        let mut failures = 0;
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let closing = self.state.closing();
            if closing.is_cancelled() || Instant::now() >= self.until {
                return None;
            }
            if !self.more {
                self.rest().await;
            }
            match self.look().await {
                Ok(()) => failures = 0,
                Err(_) if failures < RETRIES => {
                    failures += 1;
                    self.more = true;
                    closing.run_until_cancelled(sleep(RETRY_EVERY)).await;
                }
                Err(_) => return None,
            }
        }
    }

    /// Waits for a change, and a little for what happens with it.
    async fn rest(&mut self) {
        let changed = self.state.waiters.has_changed(&mut self.watch, Instant::now() + LOOK_EVERY).await;
        if changed {
            self.state.closing().run_until_cancelled(sleep_until(self.looked + GATHER)).await;
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        self.looked = Instant::now();
        match (ReadEvents { after: Some(self.after), prefix: &self.prefix }).run(&self.pool).await? {
            ReadOutcome::Events(list) => self.take(list),
            ReadOutcome::Lost { first } => {
                self.after = first.saturating_sub(1);
                self.more = true;
                self.push(Event::default().event("gap").json_data(EventGap { next: first }));
            }
        }
        Ok(())
    }

    fn take(&mut self, list: EventList) {
        for event in list.events {
            self.after = event.id;
            self.push(Event::default().event("event").json_data(&event));
        }
        let passed_over = list.next_after > self.after;
        self.after = list.next_after;
        self.more = list.more;
        if passed_over && self.placed.elapsed() >= LOOK_EVERY {
            self.place();
        }
    }

    /// Tells where the reader is, in an event without data.
    fn place(&mut self) {
        self.push(Ok(Event::default()));
    }

    fn push(&mut self, event: Result<Event, axum::Error>) {
        if let Ok(event) = event {
            self.placed = Instant::now();
            self.ready.push_back(event.id(self.after.to_string()));
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
