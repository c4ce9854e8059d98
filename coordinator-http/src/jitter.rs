//! Spreading: so that many callers told the same do not come back in the same moment.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

use uuid::Uuid;

/// Where this process begins in the row of numbers.
static ROW: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(Uuid::new_v4().as_u64_pair().1));
/// From one number of the row to the next.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A number that looks random, and that whoever saw those before could tell: nothing may rest on its being a secret. It asks
/// the system for nothing, as secrets do each time.
pub(crate) fn number() -> u64 {
    // SplitMix64.
    let place = ROW.fetch_add(STEP, Ordering::Relaxed);
    let mixed = (place ^ place >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// A number from 0 to `below` − 1; 0 if `below` is 0.
pub(crate) fn random_below(below: u64) -> u64 {
    number().checked_rem(below).unwrap_or(0)
}

/// `ms` give or take ten per cent.
pub(crate) fn ten_percent(ms: u64) -> u64 {
    ms - ms / 10 + random_below(ms / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_interval_stays_within_ten_percent() {
        for _ in 0..1_000 {
            assert!((9_000..=11_000).contains(&ten_percent(10_000)));
        }
        assert_eq!((ten_percent(0), random_below(0)), (0, 0));
    }

    #[test]
    fn numbers_are_spread_over_all_there_are_and_none_comes_twice() {
        let numbers: std::collections::HashSet<_> = (0..10_000).map(|_| number()).collect();
        assert_eq!(numbers.len(), 10_000);
        let upper = numbers.iter().filter(|number| **number >> 63 == 1).count();
        assert!((4_500..5_500).contains(&upper), "{upper}");
    }
}
