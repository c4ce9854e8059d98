//! A turnstile before what takes a processor's time: callers pass as they come while few are within. Once those keep the
//! processors at work for a while, others wait, and pass together when enough have gone: so what they do first can be done for all
//! of them at once, and none is later for it than it would be in the line within.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

/// Nobody waits for longer: those within may be stuck, and whoever waited is to hear of that as soon as they do, within a second.
const LONGEST: Duration = Duration::from_millis(150);

/// Who is within, and who waits.
#[derive(Debug)]
pub(super) struct Turnstile {
    few: usize,
    within: Mutex<usize>,
    /// Those who wait; whoever gives up is gone from here at once, however long nobody passes.
    waiting: Notify,
}

/// A caller within, until this is dropped.
#[derive(Debug)]
pub(crate) struct Within(Arc<Turnstile>);

impl Turnstile {
    /// One through which callers pass while fewer than `few` are within.
    pub(super) fn new(few: usize) -> Self {
        Self { few, within: Mutex::default(), waiting: Notify::new() }
    }

    /// Waits for the caller's turn.
    pub(super) async fn pass(self: &Arc<Self>) -> Within {
        // Who waits is told of all that happens from here on, so that none goes unnoticed between the look and the wait.
        let passing = pin!(self.waiting.notified());
        if let Some(within) = self.enter() {
            return within;
        }
        let _ = tokio::time::timeout(LONGEST, passing).await;
        *self.lock() += 1;
        Within(Arc::clone(self))
    }

    /// Whether more than one is within.
    pub(super) fn has_several(&self) -> bool {
        *self.lock() > 1
    }

    fn enter(self: &Arc<Self>) -> Option<Within> {
        let mut within = self.lock();
        let may_pass = *within < self.few;
        *within += usize::from(may_pass);
        may_pass.then(|| Within(Arc::clone(self)))
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.within.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        let mut within = self.0.lock();
        *within -= 1;
        let are_few = *within < self.0.few;
        drop(within);
        if are_few {
            self.0.waiting.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, future::join_all};

    use super::*;

    #[tokio::test]
    async fn those_who_wait_pass_together_once_few_are_within() {
        let turnstile = Arc::new(Turnstile::new(2));
        let mut first: Vec<_> = (0..2).map(|_| turnstile.enter().unwrap()).collect();
        let [mut third, mut gone, mut fourth] = [(); 3].map(|()| Box::pin(turnstile.pass()));
        for waiting in [&mut third, &mut gone, &mut fourth] {
            assert!(waiting.now_or_never().is_none());
        }
        drop(gone);
        first.pop();
        let within = [third.now_or_never().unwrap(), fourth.now_or_never().unwrap()];
        assert_eq!(*turnstile.lock(), 3);
        assert!(turnstile.enter().is_none());
        drop((first, within));
        assert_eq!(*turnstile.lock(), 0);
        assert!(turnstile.enter().is_some());
    }

    #[tokio::test]
    async fn nobody_waits_for_long_for_those_who_are_stuck() {
        let turnstile = Arc::new(Turnstile::new(1));
        let stuck = turnstile.enter().unwrap();
        let within = join_all((0..3).map(|_| turnstile.pass())).await;
        assert_eq!(*turnstile.lock(), 4);
        drop((stuck, within));
        assert_eq!(*turnstile.lock(), 0);
    }
}
