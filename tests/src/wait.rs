//! Waiting for something to become true, without guessing how long that takes.

use std::{fmt::Display, time::Duration};

use tokio::time::{Instant, sleep};

/// Long enough for anything that works, even on a busy machine; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Asks `probe` again and again, without haste, until it gives something.
///
/// # Panics
/// When [`PATIENCE`] is over, with `what` was awaited.
pub async fn eventually<T>(what: impl Display, probe: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, what, probe).await
}

/// Like [`eventually`], with a limit of one's own.
///
/// # Panics
/// When `limit` is over, with `what` was awaited.
pub async fn within<T>(limit: Duration, what: impl Display, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(began.elapsed() < limit, "gave up after {limit:?} waiting for {what}");
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
