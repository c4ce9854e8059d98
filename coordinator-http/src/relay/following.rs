//! Following the answer of a model: through memory while it is uploaded to this copy, else through Redis.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use titan_api::{
    ids::{AgentId, JobId, LeaseId},
    inference::Usage,
    jobs::{JobState, Reason},
    output::Stream,
};
use titan_lua::{
    Pool, StoreError,
    output::{ReadOutput, Slice},
    watch::{Topic, Watch},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::live::{Channel, Hub};
use crate::load;

/// How often a reader looks at Redis that hears of no change there; during an upload to this copy, it is not told of them.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const LOOK_EVERY_LIVE: Duration = Duration::from_secs(1);

/// A job that asks a model, and how far its answer was read.
pub(crate) struct Following {
    pool: Pool,
    job: JobId,
    watch: Watch,
    channel: Arc<Channel>,
    memory: watch::Receiver<()>,
    attempt: u32,
    /// Whose answer was read so far.
    lease: Option<LeaseId>,
    offset: u64,
    /// Whether Redis has to be looked at before anything is waited for.
    look: bool,
    /// What the last look found.
    pub(crate) state: JobState,
    /// The agent that has it.
    pub(crate) agent: Option<AgentId>,
    /// When what happened.
    pub(crate) times: Times,
}

/// When a request got how far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) asked: Instant,
    pub(crate) claimed: Option<Instant>,
    pub(crate) begun: Option<Instant>,
    pub(crate) answered: Option<Instant>,
}

/// What there is next.
pub(crate) enum Step {
    /// More of the answer.
    Bytes(Bytes),
    /// The end, and nothing follows.
    Ended(Ending),
    /// Nothing that concerns the answer; the state may be another.
    Nothing,
}

/// How a job ended.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    pub(crate) state: JobState,
    pub(crate) reason: Option<Reason>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) usage: Option<Usage>,
    /// What follows here cannot be read any more, but the job has not ended.
    pub(crate) runs_on: bool,
}

impl Ending {
    fn of(state: JobState, reason: Option<Reason>) -> Self {
        Self { state, reason, exit_code: None, usage: None, runs_on: false }
    }
}

impl Following {
    /// Begins to follow a job: with the first call of [`Following::next`] Redis is looked at.
    pub(crate) async fn begin(hub: &Hub, pool: Pool, job: JobId, asked: Instant) -> Result<Self, StoreError> {
        let channel = hub.join(pool.name(), &job);
        let memory = channel.subscribe();
        let watch = pool.watch(Topic::Job(job.clone())).await?;
        let times = Times { asked, claimed: None, begun: None, answered: None };
        Ok(Self {
            pool,
            job,
            watch,
            channel,
            memory,
            attempt: 0,
            lease: None,
            offset: 0,
            look: true,
            state: JobState::Pending,
            agent: None,
            times,
        })
    }

    /// The number of the attempt that answers.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What there is next, waited for until a time.
    pub(crate) async fn next(&mut self, until: Instant) -> Result<Step, StoreError> {
        loop {
            if let Some(bytes) = self.heard() {
                return Ok(self.took(bytes));
            }
            if self.look {
                self.look = false;
                let step = self.look().await?;
                if !matches!(step, Step::Nothing) {
                    return Ok(step);
                }
                if self.heard().is_none() && Instant::now() < until {
                    self.wait(until).await;
                }
                return Ok(Step::Nothing);
            }
            if !self.wait(until).await {
                return Ok(Step::Nothing);
            }
        }
    }

    /// What an upload to this copy has brought.
    fn heard(&self) -> Option<Bytes> {
        self.channel.after(self.lease.as_ref()?, self.offset)
    }

    /// Waits for a change; `false` if there was none.
    async fn wait(&mut self, until: Instant) -> bool {
        let is_live = self.channel.is_open();
        let patience = Instant::now() + if is_live { LOOK_EVERY_LIVE } else { LOOK_EVERY };
        load::waiting(async {
            tokio::select! {
                biased;
                _ = self.memory.changed() => {
                    // An upload has brought something, has begun, or is over: then only Redis knows how. So it does of an
                    // attempt that is new here.
                    self.look = !self.channel.is_open() || !self.channel.is_of(self.lease.as_ref());
                    true
                }
                () = self.watch.changed(), if !is_live => {
                    self.look = true;
                    true
                }
                () = sleep_until(patience.min(until)) => {
                    self.look = patience <= until;
                    self.look
                }
            }
        })
        .await
    }

    /// Has Redis looked at again, after a call of [`Following::next`] was given up.
    pub(crate) fn look_again(&mut self) {
        self.look = true;
    }

    fn took(&mut self, bytes: Bytes) -> Step {
        self.offset += bytes.len() as u64;
        self.times.answered.get_or_insert_with(Instant::now);
        Step::Bytes(bytes)
    }

    async fn look(&mut self) -> Result<Step, StoreError> {
        let attempt = (self.attempt > 0).then_some(self.attempt);
        let read = ReadOutput { job: &self.job, attempt, offset: self.offset, since: None, follow: true };
        let Some(slice) = read.run(&self.pool).await? else {
            return Ok(Step::Ended(Ending::of(JobState::Cancelled, None)));
        };
        self.note(&slice);
        // What is behind a gap is of no use to anybody, and so is what follows in the answer of another attempt.
        // During an upload to this copy Redis has less than was read.
        let is_forgotten = slice.state == JobState::Completed && self.offset > slice.written;
        let is_lost = slice.skipped_bytes > 0 || is_forgotten;
        let is_another = self.offset > 0 && self.lease != slice.about.lease;
        if is_lost || is_another {
            let ending = Ending::of(JobState::Failed, Some(Reason::BackendFailed));
            return Ok(Step::Ended(Ending { runs_on: !slice.complete, ..ending }));
        }
        self.attempt = slice.attempt;
        self.lease.clone_from(&slice.about.lease);
        let bytes = joined(&slice);
        self.look = !bytes.is_empty() && !self.channel.is_open();
        if !bytes.is_empty() {
            return Ok(self.took(bytes));
        }
        if slice.complete {
            let about = slice.about;
            let ending = Ending::of(slice.state, about.reason);
            return Ok(Step::Ended(Ending { exit_code: about.exit_code, usage: about.usage, ..ending }));
        }
        Ok(Step::Nothing)
    }

    fn note(&mut self, slice: &Slice) {
        let now = Instant::now();
        self.state = slice.state;
        self.agent.clone_from(&slice.about.agent);
        if slice.attempt > 0 {
            self.times.claimed.get_or_insert(now);
        }
        if slice.about.has_begun {
            self.times.begun.get_or_insert(now);
        }
    }
}

fn joined(slice: &Slice) -> Bytes {
    let mut bytes = BytesMut::new();
    for chunk in slice.chunks.iter().filter(|chunk| chunk.stream == Stream::Stdout) {
        bytes.extend_from_slice(&chunk.data);
    }
    bytes.freeze()
}
