//! Following a job's output to its end, over connections that may break.

use std::time::Duration;

use titan_api::{
    client::{ClientError, OutputEvent, OutputNews},
    ids::JobId,
};
use tokio::time::{Instant, sleep};

use crate::{failure::Failure, session::Session};

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

/// Follows one job.
#[derive(Debug)]
pub struct Follower<'a> {
    session: &'a Session,
    job: &'a JobId,
    patience: Patience,
    last_event_id: Option<String>,
    pause: Duration,
    broken_since: Option<Instant>,
}

/// How one connection ended.
enum Ending {
    Complete,
    Closed,
}

impl<'a> Follower<'a> {
    /// A follower at the start of the job's output.
    #[must_use]
    pub fn new(session: &'a Session, job: &'a JobId, patience: Patience) -> Self {
        Self { session, job, patience, last_event_id: None, pause: patience.first_pause, broken_since: None }
    }

    /// Gives every event to `take`, until the job has ended and all was read.
    ///
    /// # Errors
    /// [`Failure`] if the coordinator refuses, stays away for too long, or `take` fails.
    pub async fn run(mut self, mut take: impl FnMut(&OutputEvent) -> Result<(), Failure>) -> Result<(), Failure> {
        loop {
            match self.connection(&mut take).await? {
                Ok(Ending::Complete) => return Ok(()),
                // A coordinator may end a long stream at any time, and the reader comes back.
                Ok(Ending::Closed) => self.rest(None, None).await,
                Err(error) if error.is_transient() && !self.is_too_long() => {
                    self.rest(retry_after(&error), Some(&error.to_string())).await;
                }
                Err(error) => return Err(self.session.failed(format!("follow the output of job {}", self.job))(error)),
            }
        }
    }

    /// One connection. The outer error is one of `take`.
    async fn connection(
        &mut self,
        take: &mut impl FnMut(&OutputEvent) -> Result<(), Failure>,
    ) -> Result<Result<Ending, ClientError>, Failure> {
        let last = self.last_event_id.as_deref();
        let mut events = match self.session.client.output_events(self.job, last).await {
            Ok(events) => events,
            Err(error) => return Ok(Err(error)),
        };
        let connected_at = Instant::now();
        loop {
            match events.next().await {
                Ok(Some(event)) => {
                    self.note(&event);
                    take(&event)?;
                    if matches!(event.what, OutputNews::End(_)) {
                        return Ok(Ok(Ending::Complete));
                    }
                }
                Ok(None) => return Ok(Ok(Ending::Closed)),
                Err(error) => {
                    // A connection that held for a while was good, however silent the job is: patience begins anew.
                    if connected_at.elapsed() > self.patience.longest_pause {
                        (self.pause, self.broken_since) = (self.patience.first_pause, None);
                    }
                    return Ok(Err(error));
                }
            }
        }
    }

    /// Something came: whatever was wrong is over.
    fn note(&mut self, event: &OutputEvent) {
        self.last_event_id = event.id.clone().or(self.last_event_id.take());
        self.pause = self.patience.first_pause;
        if self.broken_since.take().is_some() {
            eprintln!("[titan: connected again]");
        }
    }

    fn is_too_long(&self) -> bool {
        self.broken_since.is_some_and(|since| since.elapsed() > self.patience.give_up_after)
    }

    /// Waits before the next connection; says so once if something is wrong.
    async fn rest(&mut self, at_least: Option<Duration>, wrong: Option<&str>) {
        if let Some(wrong) = wrong.filter(|_| self.broken_since.is_none()) {
            eprintln!("[titan: the connection broke ({}); trying again]", crate::render::clean(wrong));
            self.broken_since = Some(Instant::now());
        }
        sleep(self.pause.max(at_least.unwrap_or_default().min(self.patience.longest_pause))).await;
        self.pause = (self.pause * 2).min(self.patience.longest_pause);
    }
}

fn retry_after(error: &ClientError) -> Option<Duration> {
    match error {
        ClientError::Refused { retry_after, .. } => *retry_after,
        _ => None,
    }
}
