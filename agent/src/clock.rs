//! The clock by which leases and time-outs are measured on this box.

use nix::time::{ClockId, clock_gettime};

// The suspended hours of a laptop count too: the coordinator has long given its jobs to others when it wakes.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
// On macOS this one goes on while the box sleeps.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;

/// Milliseconds on a clock that all processes of this box share, that counts sleep, and that nobody can set.
pub(crate) fn now_ms() -> u64 {
    let Ok(time) = clock_gettime(CLOCK) else { return 0 };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
    seconds * 1_000 + nanos / 1_000_000
}

/// A duration in whole milliseconds.
pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
