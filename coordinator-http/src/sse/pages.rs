//! A stream of server-sent events out of pages that are read one after the other, each as soon as there is one.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::response::{
    Sse,
    sse::{Event, KeepAlive},
};
use futures_util::{Stream, stream};
use titan_lua::{StoreError, watch::Watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{state::AppState, waiters::Seat};

/// How long one stream lasts; its reader then comes back with `Last-Event-ID`.
const LONGEST: Duration = Duration::from_hours(1);
/// How often a comment shows that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often, and how long, a stream outlives an outage of Redis.
const RETRY_EVERY: Duration = Duration::from_secs(1);
const RETRIES: u32 = 30;
/// How often a reader that hears of no change looks by itself.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What is read by pages.
pub(crate) trait Pages: Send + 'static {
    /// The least time between two looks that changes bring about: what happens in a burst is read at once.
    const GATHER: Duration;

    /// Reads the next page, and makes events of it. Pages are bounded, so that what has come is sent before the next is read.
    /// What was read after `heard` is new enough: a later change wakes the reader again.
    fn look(&mut self, heard: Instant, events: &mut Events) -> impl Future<Output = Result<Then, Unread>> + Send;
}

/// Events that wait to be sent.
pub(crate) type Events = VecDeque<Event>;

/// What comes after a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Perhaps another one, at once.
    More,
    /// Nothing before something changes.
    Rest,
    /// Nothing.
    End,
}

/// The store could not be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unread;

impl From<StoreError> for Unread {
    fn from(_: StoreError) -> Self {
        Self
    }
}

/// A reader that is about to begin.
pub(crate) struct Reader<P> {
    pub(crate) state: AppState,
    /// Changes of what is read.
    pub(crate) watch: Watch,
    /// Its place among the readers of this copy.
    pub(crate) _seat: Seat,
    pub(crate) pages: P,
}

impl<P: Pages> Reader<P> {
    /// The stream that begins with these events.
    pub(crate) fn begin(
        self,
        events: Events,
        then: Then,
    ) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<P>> {
        let begun = Instant::now();
        let running = Running { reader: self, events, then, looked: begun, until: begun + LONGEST };
        let events = stream::unfold(running, |mut running| async move { Some((Ok(running.next().await?), running)) });
        Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
    }
}

struct Running<P> {
    reader: Reader<P>,
    events: Events,
    then: Then,
    looked: Instant,
    until: Instant,
}

impl<P: Pages> Running<P> {
    /// The next event; none at the end, at a shutdown, after too long an outage, and when the stream has lasted long enough.
    async fn next(&mut self) -> Option<Event> {
        let mut failures = 0;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let closing = self.reader.state.closing();
            if self.then == Then::End || closing.is_cancelled() || Instant::now() >= self.until {
                return None;
            }
            let heard = if self.then == Then::Rest { self.rest().await } else { Instant::now() };
            self.looked = Instant::now();
            match self.reader.pages.look(heard, &mut self.events).await {
                Ok(then) => (self.then, failures) = (then, 0),
                Err(Unread) if failures < RETRIES => {
                    (self.then, failures) = (Then::More, failures + 1);
                    closing.run_until_cancelled(sleep(RETRY_EVERY)).await;
                }
                Err(Unread) => return None,
            }
        }
    }

    /// Waits for a change, and a little for what happens with it. When it was heard of.
    async fn rest(&mut self) -> Instant {
        let Reader { state, watch, .. } = &mut self.reader;
        let changed = state.waiters.has_changed(watch, Instant::now() + LOOK_EVERY, None).await;
        let heard = Instant::now();
        if changed && !P::GATHER.is_zero() {
            state.closing().run_until_cancelled(sleep_until(self.looked + P::GATHER)).await;
        }
        heard
    }
}
