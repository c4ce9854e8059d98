//! Waiting for a change without holding a connection to Redis.
//!
//! A waiter registers before it looks, so no change falls in between. It answers when there is something, when its
//! time is over, or when the coordinator shuts down.

use std::{sync::Arc, time::Duration};

use titan_lua::{
    Pool,
    watch::{Topic, Watch},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;

/// How many requests of one copy may wait at once.
const PLACES: usize = 30_000;
/// How many streams of output one copy may send at once.
const READERS: usize = 2_000;

/// The waiting requests of this copy.
#[derive(Debug)]
pub(crate) struct Waiters {
    places: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    closing: CancellationToken,
}

impl Default for Waiters {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { places: places(PLACES), readers: places(READERS), closing: CancellationToken::new() }
    }
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

    /// A seat for a stream of output, if there is one.
    pub(crate) fn reader(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        seat(&self.readers, "too many streams of output are read here already")
    }

    /// Looks again whenever `topic` changes, until something is found or `wait` is over.
    pub(crate) async fn until_found<T, F>(
        &self,
        pool: &Pool,
        topic: Topic,
        wait: Duration,
        mut look: impl FnMut(Visit) -> F,
    ) -> Result<T, ApiError>
    where
        F: Future<Output = Result<Look<T>, ApiError>>,
    {
        if wait.is_zero() || self.closing.is_cancelled() {
            let (Look::Found(answer) | Look::Nothing(answer)) =
                look(Visit { first: true, left: Duration::ZERO }).await?;
            return Ok(answer);
        }
        let _place = seat(&self.places, "too many requests wait here already")?;
        let deadline = Instant::now() + wait;
        let mut watch = pool.watch(topic).await?;
        let mut first = true;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match look(Visit { first, left }).await? {
                Look::Found(answer) => return Ok(answer),
                Look::Nothing(answer) if !self.has_changed(&mut watch, deadline).await => return Ok(answer),
                Look::Nothing(_) => first = false,
            }
        }
    }

    /// Whether something changed before the deadline, and before the shutdown.
    pub(crate) async fn has_changed(&self, watch: &mut Watch, deadline: Instant) -> bool {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => false,
            () = watch.changed() => true,
            () = sleep_until(deadline) => false,
        }
    }
}

fn seat(seats: &Arc<Semaphore>, full: &str) -> Result<OwnedSemaphorePermit, ApiError> {
    Arc::clone(seats).try_acquire_owned().map_err(|_| ApiError::Overloaded(full.to_owned()))
}
