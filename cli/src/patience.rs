//! How long to try again when a coordinator stops answering in the middle of something.

use std::{pin::pin, time::Duration};

use titan_api::client::ClientError;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{render::clean, session::Session};

/// How long to try again after a connection broke.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The first pause; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// When to give up, from the first vain attempt on.
    pub give_up_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(5),
            give_up_after: Duration::from_mins(2),
        }
    }
}

/// What is wrong with a connection that is made again and again, and since when.
#[derive(Debug)]
pub struct Trouble {
    patience: Patience,
    pause: Duration,
    since: Option<Instant>,
}

impl Trouble {
    /// Nothing is wrong yet.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self { patience, pause: patience.first_pause, since: None }
    }

    /// Something came: whatever was wrong is over.
    pub fn is_over(&mut self, session: &Session) {
        self.pause = self.patience.first_pause;
        if self.since.take().is_some() {
            session.remark("[titan: connected again]");
        }
    }

    /// Whether something was wrong until now.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.since.is_some()
    }

    /// Whether the same call is worth another try.
    #[must_use]
    pub fn may_pass(&self, error: &ClientError) -> bool {
        error.is_transient() && self.since.is_none_or(|since| since.elapsed() <= self.patience.give_up_after)
    }

    /// Waits before the next connection; says so once if something is wrong.
    pub async fn rest(&mut self, session: &Session, wrong: Option<&ClientError>) {
        if let Some(wrong) = wrong.filter(|_| self.since.is_none()) {
            let why = clean(&wrong.to_string());
            let what = match wrong {
                ClientError::Unreachable { .. } => "the connection broke",
                _ => "that did not go through",
            };
            session.remark(&format!("[titan: {what} ({why}); trying again]"));
            self.since = Some(Instant::now());
        }
        // A key that calls too often may not for longer than another trouble would last.
        let is_too_often = wrong.is_some_and(is_too_often);
        let longest = if is_too_often { self.patience.give_up_after } else { self.patience.longest_pause };
        let at_least = wrong.and_then(retry_after).unwrap_or_default().min(longest);
        sleep(self.pause.max(at_least)).await;
        self.pause = (self.pause * 2).min(self.patience.longest_pause);
    }
}

/// Waits for what comes next on a connection. One that holds for long is good, however silent it is, and that is said meanwhile.
pub(crate) async fn wait_for<T>(
    coming: impl Future<Output = T>,
    connected_at: Instant,
    trouble: &mut Trouble,
    session: &Session,
) -> T {
    let mut coming = pin!(coming);
    if let Ok(came) = timeout_at(connected_at + trouble.patience.longest_pause, &mut coming).await {
        return came;
    }
    trouble.is_over(session);
    coming.await
}

/// Asks a coordinator that has answered before until it does again, for as long as one is patient.
///
/// # Errors
/// What it answers at last, or why it can't be reached.
pub(crate) async fn answer<T>(
    session: &Session,
    ask: impl AsyncFn() -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let mut trouble = Trouble::new(Patience::default());
    loop {
        match ask().await {
            Err(error) if trouble.may_pass(&error) => trouble.rest(session, Some(&error)).await,
            told => {
                trouble.is_over(session);
                return told;
            }
        }
    }
}

/// Whether the coordinator only says that this key calls too often, and when it may again.
pub(crate) fn is_too_often(error: &ClientError) -> bool {
    error.problem().is_some_and(|problem| problem.status == 429)
}

fn retry_after(error: &ClientError) -> Option<Duration> {
    match error {
        ClientError::Refused { retry_after, .. } => *retry_after,
        _ => None,
    }
}
