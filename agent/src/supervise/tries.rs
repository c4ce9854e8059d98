//! How often and how soon a backend that has ended is started again.

use std::time::Duration;

use crate::backoff::Backoff;

/// Waits before it is started again: at first, and at most.
const WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// So often in a row may it end without ever having been well.
const IN_VAIN: u32 = 8;
/// The wait before one is tried again that did: what it lacks may come back by itself, such as the way to its model.
const HOPELESS_WAIT: Duration = Duration::from_mins(10);
/// One that was well for so long had no part in earlier failures.
const STEADY: Duration = Duration::from_mins(2);

/// What became of the starts so far.
#[derive(Debug)]
pub(super) struct Tries {
    backoff: Backoff,
    in_vain: u32,
}

impl Tries {
    pub(super) fn new() -> Self {
        Self { backoff: Backoff::new(WAIT.0, WAIT.1), in_vain: 0 }
    }

    /// Nothing of it could be started. That says nothing of what is to be started: a Docker that is not up yet, say, or the
    /// way to an image.
    pub(super) fn after_nothing(&mut self) -> Next {
        Next { wait: self.backoff.after_failure(None), is_hopeless: false }
    }

    /// It ended, after having been well for so long, if it ever was.
    ///
    /// Whoever was well once is never hopeless: a request that ends it could otherwise end it for long.
    pub(super) fn after_end(&mut self, well_for: Option<Duration>) -> Next {
        match well_for {
            None => self.in_vain += 1,
            Some(time) => {
                self.in_vain = 0;
                if time >= STEADY {
                    self.backoff.reset();
                }
            }
        }
        let is_hopeless = self.in_vain >= IN_VAIN;
        Next { wait: if is_hopeless { HOPELESS_WAIT } else { self.backoff.after_failure(None) }, is_hopeless }
    }
}

/// The next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    /// How long to wait before it.
    pub wait: Duration,
    /// Whether it was in vain too often.
    pub is_hopeless: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hopeless(tries: &mut Tries, well_for: Option<Duration>) -> bool {
        let next = tries.after_end(well_for);
        assert!(next.wait <= if next.is_hopeless { HOPELESS_WAIT } else { WAIT.1 }, "{next:?}");
        next.is_hopeless
    }

    #[test]
    fn one_that_is_never_well_is_hopeless_and_one_that_was_well_is_not() {
        let mut tries = Tries::new();
        assert!((0..7).all(|_| !hopeless(&mut tries, None)));
        assert!(!hopeless(&mut tries, Some(Duration::from_secs(1))), "it was well in between");
        assert!((0..7).all(|_| !hopeless(&mut tries, None)));
        assert!((0..3).all(|_| hopeless(&mut tries, None)));
        assert_eq!(tries.after_end(None).wait, HOPELESS_WAIT, "it is tried all the same");
        assert!(!hopeless(&mut tries, Some(STEADY)));
    }

    #[test]
    fn what_could_not_be_started_for_long_is_not_hopeless_when_it_can() {
        let mut tries = Tries::new();
        for _ in 0..100 {
            let next = tries.after_nothing();
            assert!(!next.is_hopeless && next.wait <= WAIT.1, "{next:?}");
        }
        assert!((0..7).all(|_| !hopeless(&mut tries, None)));
    }

    #[test]
    fn waits_grow_unless_it_was_well_for_long() {
        let mut tries = Tries::new();
        assert!((0..100).all(|_| !hopeless(&mut tries, Some(Duration::from_secs(1)))));
        assert_eq!(tries.backoff.failures(), 100);
        assert!(tries.after_end(Some(STEADY)).wait <= WAIT.0);
    }
}
