//! Spreading: so that many callers told the same do not come back in the same moment.

/// A random number from 0 to `below` − 1; 0 if `below` is 0.
pub(crate) fn random_below(below: u64) -> u64 {
    let mut bytes = [0; 8];
    if below == 0 || aws_lc_rs::rand::fill(&mut bytes).is_err() {
        return 0;
    }
    u64::from_le_bytes(bytes) % below
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
        assert_eq!(ten_percent(0), 0);
    }
}
