//! Waiting before a repeat: exponential, with full jitter, so that a thousand agents that failed together do not come
//! back together.

use std::time::Duration;

/// How long to wait before each repeat of something that failed.
#[derive(Debug)]
pub(crate) struct Backoff {
    base: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits of up to `base` after the first failure, doubling up to `most`.
    pub(crate) fn new(base: Duration, most: Duration) -> Self {
        Self { base, most, failures: 0 }
    }

    /// It worked: the next failure is the first again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// How long to wait now that it failed once more; never less than the other side asked for.
    pub(crate) fn after_failure(&mut self, asked_for: Option<Duration>) -> Duration {
        let most = self.base.saturating_mul(1 << self.failures.min(20)).min(self.most);
        self.failures = self.failures.saturating_add(1);
        asked_for.unwrap_or_default().saturating_add(jitter(most))
    }
}

/// A random duration below `most`.
pub(crate) fn jitter(most: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    most.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_their_bound_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for _ in 0..50 {
            assert!(backoff.after_failure(None) <= Duration::from_secs(1));
        }
        assert_eq!(backoff.failures(), 50);
        backoff.reset();
        assert!(backoff.after_failure(None) <= Duration::from_millis(100));
    }

    #[test]
    fn the_other_side_is_never_asked_again_before_it_said() {
        let mut backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
        assert!(backoff.after_failure(Some(Duration::from_secs(3))) >= Duration::from_secs(3));
        assert_eq!(backoff.after_failure(Some(Duration::MAX)), Duration::MAX);
    }
}
