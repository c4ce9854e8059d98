//! Following a job's output to its end, over connections that may break.

use titan_api::{
    client::{ClientError, OutputEvent, OutputNews},
    ids::JobId,
    time::Since,
};
use tokio::time::Instant;

use crate::{
    failure::Failure,
    jobs::ended,
    patience::{self, Patience, Trouble},
    session::Session,
};

/// Follows one job.
#[derive(Debug)]
pub struct Follower<'a> {
    session: &'a Session,
    job: &'a JobId,
    after: After,
    trouble: Trouble,
    /// Whether the job was there at the last connection, and had not ended.
    has_seen: bool,
}

/// Where to begin.
#[derive(Debug, Clone, Default)]
pub struct After {
    /// After the event of that id.
    pub event: Option<String>,
    /// Or else with what was written from then on.
    pub since: Option<Since>,
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
        Self { session, job, after: After::default(), trouble: Trouble::new(patience), has_seen: false }
    }

    /// The same follower, which begins there.
    #[must_use]
    pub fn after(self, after: After) -> Self {
        Self { after, ..self }
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
                Ok(Ending::Closed) => self.trouble.rest(self.session, None).await,
                Err(error) if self.has_seen && ended::is_missing(&error) => return Err(ended::gone(self.job)),
                Err(error) if self.trouble.may_pass(&error) => {
                    self.trouble.rest(self.session, Some(&error)).await;
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
        let After { event: last, since } = &self.after;
        let mut events = match self.session.client.output_events(self.job, last.as_deref(), *since).await {
            Ok(events) => events,
            Err(error) => return Ok(Err(error)),
        };
        self.has_seen = true;
        let connected_at = Instant::now();
        loop {
            let coming = patience::wait_for(events.next(), connected_at, &mut self.trouble, self.session);
            match coming.await {
                Ok(Some(event)) => {
                    self.after.event = event.id.clone().or(self.after.event.take());
                    self.trouble.is_over(self.session);
                    take(&event)?;
                    if matches!(event.what, OutputNews::End(_)) {
                        return Ok(Ok(Ending::Complete));
                    }
                }
                Ok(None) => return Ok(Ok(Ending::Closed)),
                Err(error) => return Ok(Err(error)),
            }
        }
    }
}
