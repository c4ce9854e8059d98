//! Waiting for a change without holding a connection to Redis.
//!
//! A waiter registers before it looks, so no change falls in between. It answers when there is something, when its
//! time is over, or when the coordinator shuts down.

mod parked;
mod seats;

use std::time::Duration;

use titan_api::ids::{AgentId, PoolName};

use titan_lua::{
    Pool,
    watch::{Topic, Watch},
};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

pub(crate) use self::seats::Seat;
use self::{parked::Parked, seats::Seats};
use crate::{error::ApiError, load, notes};

/// How many requests of one copy may wait at once.
const PLACES: usize = 30_000;
/// How many requests to models one copy may relay at once.
const RELAYS: usize = 8_000;
/// How many streams of output and of events one copy may send at once.
const READERS: usize = 2_000;

/// The waiting requests of this copy.
#[derive(Debug)]
pub(crate) struct Waiters {
    places: Seats,
    readers: Seats,
    relays: Seats,
    parked: Parked,
    closing: CancellationToken,
}

impl Default for Waiters {
    fn default() -> Self {
        Self {
            places: Seats::new(PLACES, "requests wait"),
            readers: Seats::new(READERS, "streams are read"),
            relays: Seats::new(RELAYS, "requests to models are relayed"),
            parked: Parked::default(),
            closing: CancellationToken::new(),
        }
    }
}

/// Whose request waits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Holder<'a> {
    /// A client's, by its key's id.
    Key(&'a str),
    /// An agent's, whose newer claims end its older ones.
    Agent(&'a PoolName, &'a AgentId),
}

/// What a look found.
pub(crate) enum Look<T> {
    /// Something to answer with at once.
    Found(T),
    /// Nothing yet; the answer if it stays like that.
    Nothing(T),
}

/// The circumstances of a look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visit {
    /// Whether it is the first of this request.
    pub(crate) first: bool,
    /// The time that is left to wait.
    pub(crate) left: Duration,
}

impl Waiters {
    /// Cancelled when the coordinator shuts down.
    pub(crate) fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// How many requests wait now.
    pub(crate) fn waiting(&self) -> usize {
        self.places.taken() + self.relays.taken()
    }

    /// A seat for a stream, if there is one.
    pub(crate) fn reader(&self, key: &str) -> Result<Seat, ApiError> {
        self.readers.take(key)
    }

    /// A seat for a request to a model, if there is one.
    pub(crate) fn relay(&self, key: &str) -> Result<Seat, ApiError> {
        self.relays.take(key)
    }

    /// Looks again whenever `topic` changes, until something is found or `wait` is over.
    pub(crate) async fn until_found<T, F>(
        &self,
        pool: &Pool,
        holder: Holder<'_>,
        topic: Topic,
        wait: Duration,
        mut look: impl FnMut(Visit) -> F,
    ) -> Result<T, ApiError>
    where
        F: Future<Output = Result<Look<T>, ApiError>>,
    {
        if wait.is_zero() || self.closing.is_cancelled() {
            let (Look::Found(answer) | Look::Nothing(answer)) =
                Box::pin(look(Visit { first: true, left: Duration::ZERO })).await?;
            return Ok(answer);
        }
        let (name, ended) = match holder {
            Holder::Key(key) => (key.to_owned(), None),
            Holder::Agent(pool, agent) => (format!("{pool}/{agent}"), Some(self.parked.park(pool, agent))),
        };
        let _place = self.places.take(&name)?;
        let deadline = Instant::now() + wait;
        if matches!(topic, Topic::Job(_)) {
            // A job that does not exist must cost no channel.
            if let Look::Found(answer) = Box::pin(look(Visit { first: true, left: wait })).await? {
                return Ok(answer);
            }
        }
        // A look takes kilobytes and is soon over, while thousands of requests wait for the next: it has memory of its own.
        let mut watch = Box::pin(pool.watch(topic)).await?;
        let mut first = true;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match Box::pin(look(Visit { first, left })).await? {
                Look::Found(answer) => return Ok(answer),
                Look::Nothing(answer) => {
                    let since = Instant::now();
                    let ended = ended.as_ref().map(|ended| &ended.token);
                    let changed = self.has_changed(&mut watch, deadline, ended).await;
                    notes::note(|notes| notes.waited += since.elapsed());
                    if !changed {
                        return Ok(answer);
                    }
                    first = false;
                }
            }
        }
    }

    /// Whether something changed before the deadline, before the shutdown, and before `ended` was cancelled. This is where
    /// thousands wait, so what they wait for is in no future within another.
    pub(crate) async fn has_changed(
        &self,
        watch: &mut Watch,
        deadline: Instant,
        ended: Option<&CancellationToken>,
    ) -> bool {
        let _rest = load::rest();
        tokio::select! {
            biased;
            () = self.closing.cancelled() => false,
            () = cancelled(ended) => false,
            () = watch.changed() => true,
            () = sleep_until(deadline) => false,
        }
    }
}

/// Ready when there is a token and it is cancelled.
async fn cancelled(token: Option<&CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
}
