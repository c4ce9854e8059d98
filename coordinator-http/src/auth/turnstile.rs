//! A turnstile before what takes a processor's time: callers pass as they come while few are within. Once those keep the
//! processors at work for a while, others wait, and pass together when enough have gone: so what they do first can be done for all
//! of them at once, and none is later for it than it would be in the line within.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

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

    /// Waits for the caller's turn. None is given only while the process ends.
    pub(super) async fn pass(self: &Arc<Self>) -> Option<Within> {
        match self.enter() {
            Ok(within) => Some(within),
            Err(told) => told.await.ok(),
        }
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
    use std::{
        future::Future,
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };

    use super::*;

    fn look(wait: Pin<&mut impl Future<Output = Option<Within>>>) -> Option<Within> {
        match wait.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(within) => within,
            Poll::Pending => None,
        }
    }

    #[test]
    fn those_who_wait_pass_together_once_few_are_within() {
        let turnstile = Arc::new(Turnstile::new(2));
        let mut first: Vec<_> = (0..2).map(|_| turnstile.enter().unwrap()).collect();
        let (mut third, mut gone, mut fourth) =
            (pin!(turnstile.pass()), Box::pin(turnstile.pass()), pin!(turnstile.pass()));
        assert!(look(third.as_mut()).is_none() && look(gone.as_mut()).is_none() && look(fourth.as_mut()).is_none());
        drop(gone);
        first.pop();
        let within = [look(third.as_mut()).unwrap(), look(fourth.as_mut()).unwrap()];
        assert_eq!(turnstile.lock().within, 3);
        assert!(turnstile.enter().is_err());
        drop((first, within));
        assert_eq!(turnstile.lock().within, 0);
        assert!(turnstile.enter().is_ok());
    }
}
