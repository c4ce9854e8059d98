//! How often and how soon a backend that has ended is started again.

use std::time::Duration;

use crate::backoff::Backoff;

/// Waits before it is started again: at first, and at most.
const WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// So often in a row may it end without ever having been well.
const IN_VAIN: u32 = 8;
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

    /// How long to wait before the next start, after one that was well for so long, if it ever was; `None` if there is
    /// no hope.
    ///
    /// Whoever was well once is never given up: a request that ends it could otherwise end it for good.
    pub(super) fn after_end(&mut self, well_for: Option<Duration>) -> Option<Duration> {
        match well_for {
            None => self.in_vain += 1,
            Some(time) => {
                self.in_vain = 0;
                if time >= STEADY {
                    self.backoff.reset();
                }
            }
        }
        (self.in_vain < IN_VAIN).then(|| self.backoff.after_failure(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_never_well_is_given_up_and_one_that_was_well_is_not() {
        let mut tries = Tries::new();
        for _ in 0..7 {
            assert!(tries.after_end(None).is_some());
        }
        assert!(tries.after_end(Some(Duration::from_secs(1))).is_some(), "it was well in between");
        for _ in 0..7 {
            assert!(tries.after_end(None).unwrap() <= WAIT.1);
        }
        assert_eq!(tries.after_end(None), None);
    }

    #[test]
    fn waits_grow_unless_it_was_well_for_long() {
        let mut tries = Tries::new();
        for _ in 0..100 {
            assert!(tries.after_end(Some(Duration::from_secs(1))).unwrap() <= WAIT.1);
        }
        assert_eq!(tries.backoff.failures(), 100);
        assert!(tries.after_end(Some(STEADY)).unwrap() <= WAIT.0);
    }
}
