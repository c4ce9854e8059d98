//! How long Redis takes: for the whole process as a histogram, and for one request as a sum.

use std::{
    cell::{Cell, RefCell},
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

tokio::task_local! {
    static SPENT: Cell<Spent>;
    static CALLS: RefCell<Vec<Call>>;
}

/// How many calls of one request are told one by one.
const CALLS_TOLD: usize = 64;

/// One run of a script.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Its name, such as `jobs/submit`.
    pub script: &'static str,
    /// When it was sent.
    pub begun: Instant,
    /// The time until its reply.
    pub took: Duration,
    /// Whether there was none, or an error.
    pub failed: bool,
}

/// Runs something, and tells the scripts that it ran, one by one; of many, the first.
pub async fn traced<T>(work: impl Future<Output = T>) -> (T, Vec<Call>) {
    let mut scope = pin!(CALLS.scope(RefCell::default(), work));
    let outcome = scope.as_mut().await;
    (outcome, scope.as_mut().take_value().map(RefCell::into_inner).unwrap_or_default())
}

/// Notes a run of a script for the request that it was for, if somebody wants to know.
pub(crate) fn note_call(call: Call) {
    let _ = CALLS.try_with(|calls| {
        let mut calls = calls.borrow_mut();
        if calls.len() < CALLS_TOLD {
            calls.push(call);
        }
    });
}

/// What a request has spent on Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Commands sent; a script counts as one.
    pub commands: u32,
    /// The time until their replies, one after the other.
    pub time: Duration,
}

/// Runs something, and tells what it spent on Redis. What it spawns as tasks of their own is not counted.
pub async fn measured<T>(work: impl Future<Output = T>) -> (T, Spent) {
    let mut scope = pin!(SPENT.scope(Cell::default(), work));
    let outcome = scope.as_mut().await;
    (outcome, scope.as_mut().take_value().map(Cell::into_inner).unwrap_or_default())
}

/// Counts a command for the request that it was sent for, if it was for one.
pub(crate) fn note(time: Duration) {
    let _ = SPENT.try_with(|spent| {
        let before = spent.get();
        spent.set(Spent { commands: before.commands.saturating_add(1), time: before.time + time });
    });
}

/// Upper bounds of the buckets, microseconds.
const BOUNDS_US: [u64; 15] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// A histogram of durations, from a quarter of a millisecond to 10 seconds. Any number of threads may write to it.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One for each bound, and one for what is beyond.
    counts: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// What a histogram held at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Upper bounds in seconds, each with the number of durations up to it; what is beyond the last bound is in `count`
    /// only.
    pub buckets: Vec<(f64, u64)>,
    /// How many durations there were.
    pub count: u64,
    /// Their sum, seconds.
    pub sum_s: f64,
}

impl Histogram {
    /// Adds a duration.
    pub fn add(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// What it holds.
    #[must_use]
    pub fn read(&self) -> Distribution {
        let mut count = 0;
        let mut upto = |bucket: usize| {
            count += self.counts[bucket].load(Ordering::Relaxed);
            count
        };
        let buckets = BOUNDS_US.iter().enumerate().map(|(i, us)| (seconds(*us), upto(i))).collect();
        Distribution { buckets, count: upto(BOUNDS_US.len()), sum_s: seconds(self.sum_us.load(Ordering::Relaxed)) }
    }
}

fn seconds(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_its_bucket_and_all_above() {
        let histogram = Histogram::default();
        for us in [1, 250, 251, 9_999_999, 3_600_000_000] {
            histogram.add(Duration::from_micros(us));
        }
        let read = histogram.read();
        assert_eq!(read.buckets[..2], [(0.000_25, 2), (0.000_5, 3)]);
        assert_eq!((read.buckets[13], read.buckets[14]), ((5.0, 3), (10.0, 4)));
        assert_eq!((read.count, read.sum_s.round()), (5, 3_610.0));
    }

    #[tokio::test]
    async fn a_request_is_told_what_it_alone_spent() {
        let work = async |times: u32| {
            for _ in 0..times {
                note(Duration::from_millis(2));
                tokio::task::yield_now().await;
            }
            "done"
        };
        let (one, two) = tokio::join!(measured(work(1)), measured(work(3)));
        assert_eq!(one, ("done", Spent { commands: 1, time: Duration::from_millis(2) }));
        assert_eq!(two, ("done", Spent { commands: 3, time: Duration::from_millis(6) }));
        note(Duration::from_millis(1));
    }
}
