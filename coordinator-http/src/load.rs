//! How many requests are worked on at once. When that is too much, what matters least is refused first: a list can be asked
//! for again, but an agent that cannot renew its leases ends its jobs.
//!
//! Requests that wait, for something to happen or for the rest of their body, do not count while they do.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    extract::{MatchedPath, Request},
    response::{IntoResponse, Response},
};
use http::Method;
use tokio::{task::futures::TaskLocalFuture, time::Instant};

use crate::{error::ApiError, gate::Gate, metrics::Tally, notes, state::AppState};

tokio::task_local! {
    /// The place of the request of this task; none for one that does not count.
    static BUSY: Option<Place>;
}

/// How much a request matters, the most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// What an agent's attempts depend on: their reports, and heartbeats that renew their leases.
    Reports,
    /// That an agent is there.
    Heartbeats,
    /// Work for agents, and what ends or settles work.
    Claims,
    /// New work, and whatever else changes something.
    Submits,
    /// What only looks.
    Lists,
}

impl Class {
    /// The class of a request; none for what has to be answered however much there is to do.
    fn of(method: &Method, route: &str) -> Option<Self> {
        match route.strip_prefix("/api/v1").unwrap_or(route) {
            "/health" | "/ready" | "/metrics" => None,
            // Which heartbeats renew nothing is known when their body is.
            "/agents/{id}/report" | "/agents/{id}/heartbeat" | "/jobs/{id}/attempts/{number}/stream" => {
                Some(Self::Reports)
            }
            "/agents/register" => Some(Self::Heartbeats),
            "/agents/{id}/claim" | "/agents/{id}/tickets/{request_id}/use" | "/jobs/{id}/cancel" | "/sweep" => {
                Some(Self::Claims)
            }
            _ if method == Method::GET || method == Method::HEAD => Some(Self::Lists),
            _ => Some(Self::Submits),
        }
    }

    /// The part of all places up to which requests of the class are taken on, in per cent.
    fn share(self) -> usize {
        match self {
            Self::Reports => 100,
            Self::Heartbeats => 90,
            Self::Claims => 80,
            Self::Submits => 65,
            Self::Lists => 50,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Reports => "reports",
            Self::Heartbeats => "heartbeats",
            Self::Claims => "claims",
            Self::Submits => "submits",
            Self::Lists => "lists",
        }
    }
}

/// The requests of this copy that are worked on.
#[derive(Debug)]
pub(crate) struct Load {
    busy: Arc<AtomicUsize>,
    most: usize,
    /// Requests that were refused, by class.
    pub(crate) refused: Tally<&'static str>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Load {
    /// At most so many requests at once.
    pub(crate) fn new(most: usize) -> Self {
        Self { busy: Arc::default(), most, refused: Tally::default() }
    }

    /// How many are worked on now.
    pub(crate) fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// Refuses a request that has a place already, if it turns out to be of a class for which there is none.
    pub(crate) fn check(&self, class: Class) -> Result<(), ApiError> {
        if self.has_time_for(class) { Ok(()) } else { Err(self.refuse(class)) }
    }

    /// Whether something of that class may be done within a request that has a place. What is left out of one is no request
    /// that was refused, and does not count as one.
    pub(crate) fn has_time_for(&self, class: Class) -> bool {
        self.busy() <= self.places(class)
    }

    fn enter(&self, class: Class) -> Result<Place, ApiError> {
        let places = self.places(class);
        let more = |busy: usize| (busy < places).then_some(busy + 1);
        match self.busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Place(Arc::clone(&self.busy))),
            Err(_) => Err(self.refuse(class)),
        }
    }

    fn places(&self, class: Class) -> usize {
        (self.most * class.share() / 100).max(1)
    }

    fn refuse(&self, class: Class) -> ApiError {
        self.refused.count(class.word());
        ApiError::Overloaded("this coordinator has too much to do; nothing was changed, try again".to_owned())
    }
}

/// The gate at which requests are let in.
#[derive(Clone)]
pub(crate) struct Admission(pub(crate) AppState);

impl Gate for Admission {
    type Inside<F: Future> = TaskLocalFuture<Option<Place>, F>;

    fn enter<F: Future>(
        &self,
        request: Request,
        next: impl FnOnce(Request) -> F,
    ) -> Result<Self::Inside<F>, Box<Response>> {
        let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let class = Class::of(request.method(), route);
        let place = class.map(|class| self.0.load.enter(class)).transpose();
        let place = place.map_err(|refusal| Box::new(refusal.into_response()))?;
        Ok(BUSY.scope(place, next(request)))
    }
}

/// Waits for something that is no work. The request counts again afterwards, even if others took its place.
pub(crate) async fn resting<T>(wait: impl Future<Output = T>) -> T {
    let _rest = rest();
    wait.await
}

/// The same until what this gives is dropped. Outside of a request, as in a stream whose reply has begun, nothing was counted.
pub(crate) fn rest() -> Option<Rest> {
    BUSY.try_with(|place| place.as_ref().map(|place| Rest::begin(Arc::clone(&place.0)))).ok().flatten()
}

/// The same for something that the request is about, which the figures tell apart from the time that the coordinator took.
pub(crate) async fn waiting<T>(wait: impl Future<Output = T>) -> T {
    let _wait = Wait(Instant::now());
    resting(wait).await
}

struct Wait(Instant);

impl Drop for Wait {
    fn drop(&mut self) {
        notes::note(|notes| notes.waited += self.0.elapsed());
    }
}

/// A wait that is no work, until it is dropped.
#[derive(Debug)]
pub(crate) struct Rest(Arc<AtomicUsize>);

impl Rest {
    fn begin(busy: Arc<AtomicUsize>) -> Self {
        busy.fetch_sub(1, Ordering::Relaxed);
        Self(busy)
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_least_is_refused_first_and_places_are_given_back() {
        use Class::{Claims, Heartbeats, Lists, Reports, Submits};
        let load = Load::new(20);
        let mut places = Vec::new();
        for (class, share) in [(Lists, 10), (Submits, 13), (Claims, 16), (Heartbeats, 18), (Reports, 20)] {
            while let Ok(place) = load.enter(class) {
                places.push(place);
            }
            assert_eq!(places.len(), share, "{class:?}");
            assert!(load.check(class).is_ok());
        }
        assert!(!load.has_time_for(Heartbeats));
        assert!(
            load.refused.read().values().all(|count| *count == 1),
            "one of each class was refused, and none counts twice"
        );
        assert!(load.check(Heartbeats).is_err());
        places.truncate(9);
        assert_eq!(load.busy(), 9);
        assert!(load.enter(Lists).is_ok());
        assert_eq!(load.busy(), 9);
    }

    #[tokio::test]
    async fn a_request_that_rests_makes_room_even_if_it_is_given_up() {
        let load = Load::new(1);
        let place = load.enter(Class::Reports).unwrap_or_else(|_| panic!("the first place is free"));
        let mut waits = Box::pin(BUSY.scope(Some(place), resting(std::future::pending::<()>())));
        assert_eq!(load.busy(), 1);
        let poll = std::future::poll_fn(|cx| std::task::Poll::Ready(waits.as_mut().poll(cx).is_pending()));
        assert!(poll.await);
        assert_eq!(load.busy(), 0);
        drop(waits);
        assert_eq!(load.busy(), 0, "it counted again, and is gone");
        resting(async {}).await;
        assert_eq!(load.busy(), 0);
    }
}
