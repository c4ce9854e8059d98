//! An upload of output: to Redis, one append after the other and each with all that has come since the one before; and to
//! whoever reads it on this copy, at once.

use std::{future::Future, pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use titan_api::{
    limits,
    work::{Happening, HeldLease, Report},
};
use titan_lua::{
    Pool, StoreError,
    agents::ReportBatch,
    output::{AppendOutcome, AppendOutput},
};
use tokio::time::{Instant, sleep_until};

use crate::{auth::callers::AgentBearer, error::ApiError, load, relay::live::Upload, state::AppState};

/// Bytes that may wait for the append before them; the connection waits if there are more.
const WAITING_BYTES: usize = 512 * 1_024;

/// An upload that has begun.
pub(crate) struct Uploading {
    pool: Pool,
    agent: titan_api::ids::AgentId,
    epoch: i64,
    lease: HeldLease,
    /// Where the output ends in Redis.
    accepted: u64,
    waiting: BytesMut,
    /// Somebody here, who needs no Redis.
    reader: Option<Upload>,
    /// After how long without an append it is asked whether the lease is still good: a box that is gone says nothing, and
    /// whoever cancels a request says nothing here.
    ask_after: Duration,
}

/// The end of the append that is under way; nothing, ever, if there is none.
async fn ended_append(append: &mut Option<Append>) -> (Result<AppendOutcome, StoreError>, Bytes) {
    match append {
        Some(append) => append.await,
        None => std::future::pending().await,
    }
}

/// The next piece of the body. While nothing is appended, an upload that is quiet is no work.
async fn next_of<S: Stream + Unpin>(body: &mut S, is_working: bool) -> Option<S::Item> {
    if is_working { body.next().await } else { load::waiting(body.next()).await }
}

type Append = Pin<Box<dyn Future<Output = (Result<AppendOutcome, StoreError>, Bytes)> + Send>>;

impl Uploading {
    /// Begins one, if the lease is good and the output goes on at that offset.
    pub(crate) async fn begin(
        state: &AppState,
        agent: &AgentBearer,
        lease: HeldLease,
        offset: u64,
    ) -> Result<Self, ApiError> {
        let pool = agent.pool.clone();
        let nothing = AppendOutput { agent: agent.id(), lease: &lease, offset, data: b"" };
        let accepted = match nothing.run(&pool).await? {
            AppendOutcome::Appended(accepted) if accepted == offset => accepted,
            AppendOutcome::Appended(accepted) | AppendOutcome::Gap(accepted) => {
                return Err(ApiError::Conflict(format!("the output ends at {accepted}, not at {offset}")));
            }
            AppendOutcome::TooLong | AppendOutcome::Stale => return Err(ApiError::StaleAttempt),
        };
        let channel = state.live.find(pool.name(), &lease.job_id);
        let reader = channel.map(|channel| channel.open(&lease.lease_id, accepted));
        let (agent, epoch) = (agent.id().clone(), agent.epoch());
        let ask_after = Duration::from_millis(state.agent_settings().lease_ttl_ms) / 4;
        Ok(Self { pool, agent, epoch, lease, accepted, waiting: BytesMut::new(), reader, ask_after })
    }

    /// Takes everything in; gives the end of the output. It ends early if the attempt is no longer current.
    pub(crate) async fn take(
        &mut self,
        mut body: impl Stream<Item = Result<Bytes, axum::Error>> + Unpin + Send,
    ) -> Result<u64, ApiError> {
        let (mut append, mut ended, mut next) = (None::<Append>, false, Instant::now());
        let mut asks = Instant::now() + self.ask_after;
        loop {
            if append.is_none() && self.waiting.is_empty() && ended {
                return Ok(self.accepted);
            }
            let is_working = append.is_some();
            let is_due = append.is_none() && !self.waiting.is_empty();
            if self.waiting.len() >= limits::OUTPUT_CHUNK_BYTES {
                next = Instant::now();
            }
            tokio::select! {
                biased;
                (outcome, data) = ended_append(&mut append), if append.is_some() => {
                    append = None;
                    self.appended(outcome?, &data).await?;
                    let pause = self.reader.as_ref().filter(|_| !ended).map(Upload::gathered_for);
                    next = Instant::now() + pause.unwrap_or_default();
                    asks = Instant::now() + self.ask_after;
                }
                chunk = next_of(&mut body, is_working), if !ended && self.waiting.len() < WAITING_BYTES => match chunk.transpose() {
                    Ok(Some(chunk)) => self.came(&chunk),
                    Ok(None) => (ended, next) = (true, Instant::now()),
                    Err(_) => return Err(ApiError::BadRequest("the upload broke off".to_owned())),
                },
                () = sleep_until(next), if is_due => append = Some(self.append()),
                () = sleep_until(asks), if append.is_none() => append = Some(self.append()),
            }
        }
    }

    fn came(&mut self, chunk: &[u8]) {
        if let Some(reader) = &self.reader {
            reader.push(chunk);
        }
        self.waiting.extend_from_slice(chunk);
    }

    fn append(&mut self) -> Append {
        let data = self.waiting.split_to(self.waiting.len().min(limits::OUTPUT_CHUNK_BYTES)).freeze();
        let (pool, agent, lease, offset) = (self.pool.clone(), self.agent.clone(), self.lease.clone(), self.accepted);
        Box::pin(async move {
            let append = AppendOutput { agent: &agent, lease: &lease, offset, data: &data };
            (append.run(&pool).await, data)
        })
    }

    async fn appended(&mut self, outcome: AppendOutcome, data: &[u8]) -> Result<(), ApiError> {
        match outcome {
            AppendOutcome::Appended(ends) if ends == self.accepted + data.len() as u64 => {
                self.accepted = ends;
                Ok(())
            }
            AppendOutcome::TooLong => {
                self.end_as_too_long().await?;
                Err(ApiError::StaleAttempt)
            }
            // If somebody else writes this output, what waits here would go to the wrong place of it.
            AppendOutcome::Appended(_) | AppendOutcome::Gap(_) | AppendOutcome::Stale => Err(ApiError::StaleAttempt),
        }
    }

    /// An answer without an end is nobody's: the attempt is over, whatever else the backend says.
    async fn end_as_too_long(&self) -> Result<(), StoreError> {
        let event = Happening::Failed {
            reason: titan_api::jobs::Reason::BackendFailed,
            exit_code: None,
            signal: None,
            message: Some("the answer is too long".to_owned()),
        };
        let reports = [Report::new(self.lease.clone(), event)];
        ReportBatch { agent: &self.agent, epoch: self.epoch, reports: &reports }.run(&self.pool).await.map(drop)
    }
}
