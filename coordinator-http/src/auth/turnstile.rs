//! A turnstile before what takes a processor's time: callers pass as they come while few are within. Once those keep the
//! processors at work for a while, others wait, and pass together when enough have gone: so what they do first can be done for all
//! of them at once, and none is later for it than it would be in the line within.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

/// Nobody waits for longer: those within may be stuck, and whoever waited is to hear of that as soon as they do, within a second.
const LONGEST: Duration = Duration::from_millis(150);

/// Who is within, and who waits.
#[derive(Debug)]
pub(super) struct Turnstile {
    few: usize,
    crowd: Mutex<Crowd>,
}

#[derive(Debug, Default)]
struct Crowd {
    within: usize,
    waiting: Vec<oneshot::Sender<Within>>,
}

/// A caller within, until this is dropped.
#[derive(Debug)]
pub(crate) struct Within(Arc<Turnstile>);

impl Turnstile {
    /// One through which callers pass while fewer than `few` are within.
    pub(super) fn new(few: usize) -> Self {
        Self { few, crowd: Mutex::default() }
    }

    /// Waits for the caller's turn.
    pub(super) async fn pass(self: &Arc<Self>) -> Within {
        let told = match self.enter() {
            Ok(within) => return within,
            Err(told) => told,
        };
        match tokio::time::timeout(LONGEST, told).await {
            Ok(Ok(within)) => within,
            _ => self.enter_anyway(),
        }
    }

    fn enter_anyway(self: &Arc<Self>) -> Within {
        self.lock().within += 1;
        Within(Arc::clone(self))
    }

    fn enter(self: &Arc<Self>) -> Result<Within, oneshot::Receiver<Within>> {
        let mut crowd = self.lock();
        if crowd.within < self.few {
            crowd.within += 1;
            return Ok(Within(Arc::clone(self)));
        }
        let (tell, told) = oneshot::channel();
        crowd.waiting.push(tell);
        Err(told)
    }

    /// One has gone. Returns those who pass now.
    fn leave(&self) -> Vec<oneshot::Sender<Within>> {
        let mut crowd = self.lock();
        crowd.within -= 1;
        if crowd.within >= self.few {
            return Vec::new();
        }
        let passing = std::mem::take(&mut crowd.waiting);
        crowd.within += passing.len();
        passing
    }

    fn lock(&self) -> MutexGuard<'_, Crowd> {
        self.crowd.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        for tell in self.0.leave() {
            // Of one who has given up waiting this is dropped at once, so that its place is free again.
            let _ = tell.send(Self(Arc::clone(&self.0)));
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
        assert_eq!(turnstile.lock().within, 3);
        assert!(turnstile.enter().is_err());
        drop((first, within));
        assert_eq!(turnstile.lock().within, 0);
        assert!(turnstile.enter().is_ok());
    }

    #[tokio::test]
    async fn nobody_waits_for_long_for_those_who_are_stuck() {
        let turnstile = Arc::new(Turnstile::new(1));
        let stuck = turnstile.enter().unwrap();
        let within = join_all((0..3).map(|_| turnstile.pass())).await;
        assert_eq!(turnstile.lock().within, 4);
        drop((stuck, within));
        assert_eq!(turnstile.lock().within, 0);
    }
}
