//! One request on its way: submitted, followed, and cancelled if nobody waits for it any more.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use titan_api::{
    headers,
    ids::{AgentId, JobId},
    jobs::{JobState, Reason, SubmitJob},
    scheduler::Explanation,
};
use titan_lua::{
    Pool, StoreError,
    jobs::{CancelJob, CancelOutcome, Idempotency, NewJob, Submit, SubmitOutcome, Submitted, Terms, WhyWaiting},
};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    following::{Ending, Following, Step, Times},
    presence::Presence,
};
use crate::{decisions, error::ApiError, ids, load, notes, state::AppState, submission};

/// Who answered, in which attempt, and where in line the request was, until when about.
pub(crate) const AGENT: HeaderName = HeaderName::from_static(headers::AGENT);
pub(crate) const ATTEMPT: HeaderName = HeaderName::from_static(headers::ATTEMPT);
pub(crate) const QUEUE_PLACE: HeaderName = HeaderName::from_static(headers::QUEUE_PLACE);
pub(crate) const QUEUE_ESTIMATE: HeaderName = HeaderName::from_static(headers::QUEUE_ESTIMATE_MS);

/// How long prompt and answer are kept after the end, milliseconds, for whoever comes again with the same key.
const KEEP_MS: u64 = 60_000;
/// By how much the store's own deadline is later than the one that is kept here.
const SPARE_MS: u64 = 1_000;
/// How long an agent may take to report the end of an answer that has come whole. Cancelling what has ended changes nothing.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// How long answers may go on once this copy is to stop: a little less than the server waits for them.
const LAST_WORDS: Duration = Duration::from_secs(8);
/// How often, and how long, an answer outlives an outage of Redis.
const RETRY_EVERY: Duration = Duration::from_millis(500);
const RETRIES: u32 = 60;
/// How long a submission may be on its way to Redis, milliseconds. One that comes later is not accepted: who asked has long gone.
const ARRIVES_WITHIN_MS: i64 = 15_000;
/// For how long a cancellation is tried that the store did not hear, or that has overtaken its submission: until that has
/// come or never will. With pauses from so long to so long.
const CANCELLED_WITHIN: Duration = Duration::from_secs(20);
const CANCEL_PAUSE: Duration = Duration::from_millis(200);
const CANCEL_PAUSE_MOST: Duration = Duration::from_secs(2);
/// How long the one may take of a copy that stops.
const LAST_CANCEL: Duration = Duration::from_secs(1);

/// A request that was submitted.
pub(crate) struct Relayed {
    pub(crate) following: Following,
    guard: Guard,
    /// What the store knows by that it is waited for; none if it goes on for whoever comes again.
    _presence: Option<Presence>,
    /// How long it waits for an agent, and until when that is.
    within: Duration,
    deadline: Instant,
    had_begun: bool,
    closing: CancellationToken,
    /// Until when this copy goes on, once it is to stop.
    stops_at: Option<Instant>,
    /// How often in a row the store could not be read.
    unread: u32,
}

/// What to submit.
pub(crate) struct Submission<'a> {
    pub(crate) spec: &'a SubmitJob,
    pub(crate) owner: &'a str,
    pub(crate) idempotency: Option<Idempotency>,
    pub(crate) deadline_ms: u64,
    pub(crate) session: Option<String>,
    /// An agent that is not to get it while there is another.
    pub(crate) avoid: Option<AgentId>,
}

impl Submission<'_> {
    /// Whether it goes on only as long as its client waits: nobody can come again for it.
    fn is_awaited(&self) -> bool {
        self.idempotency.is_none()
    }

    /// Submits it. Who is still here to be told that it came late has another clock than Redis, or than this node of it: the
    /// second time it goes by that one.
    async fn send(&self, now_ms: i64, pool: &Pool, id: &JobId) -> Result<SubmitOutcome, StoreError> {
        match self.send_once(now_ms, pool, id).await {
            Err(StoreError::Late { now_ms }) => self.send_once(now_ms, pool, id).await,
            sent => sent,
        }
    }

    async fn send_once(&self, now_ms: i64, pool: &Pool, id: &JobId) -> Result<SubmitOutcome, StoreError> {
        let terms = Terms {
            begin_within_ms: Some(self.deadline_ms + SPARE_MS),
            come_by_ms: Some(now_ms + ARRIVES_WITHIN_MS),
            keep_ms: KEEP_MS,
            session: self.session.clone(),
            avoid: self.avoid.clone(),
            is_awaited: self.is_awaited(),
        };
        let jobs = [NewJob {
            id: id.clone(),
            spec: self.spec,
            idempotency: self.idempotency.clone(),
            terms: Some(terms),
            trace: notes::trace(),
        }];
        Submit { jobs: &jobs, owner: self.owner, explain: decisions::wants_parts() }.run(pool).await
    }
}

/// What comes first of an answer.
pub(crate) enum First {
    /// Bytes of it.
    Bytes(bytes::Bytes),
    /// Its end.
    Ended(Ending),
    /// Nothing until the time that was said.
    Nothing,
}

impl Relayed {
    /// Submits a request. A model that nobody serves is refused.
    pub(crate) async fn submit(state: &AppState, pool: &Pool, what: Submission<'_>) -> Result<Self, ApiError> {
        let id = ids::new_job_id(state.clock.now_ms())?;
        let asked = Instant::now();
        // From here on it may be there, whether or not anybody hears of it.
        let mut guard = Guard {
            pool: pool.clone(),
            job: id.clone(),
            is_armed: what.is_awaited(),
            is_submitted: false,
            patience: Duration::ZERO,
        };
        let (sent, following) = tokio::join!(
            what.send(state.clock.now_ms(), pool, &id),
            Following::begin(&state.live, pool.clone(), id.clone(), asked)
        );
        guard.hear(&sent);
        let outcome = sent?;
        submission::count(&outcome, &state.metrics.submitted);
        let (job, explanation) = accepted(outcome, what.spec)?;
        decisions::submitted(&job, explanation.as_ref());
        guard.job = job.id.clone();
        let mut following = following?;
        if job.id != id {
            following = Following::begin(&state.live, pool.clone(), job.id.clone(), asked).await?;
        }
        following.state = job.state;
        notes::note(|notes| notes.request_id = Some(job.id.to_string()));
        if job.state == JobState::Pending {
            // Its place in line is worth less than the request.
            let _ = tell_place(state, pool, &job.id).await;
        }
        let within = Duration::from_millis(what.deadline_ms);
        let settings = state.store.settings();
        let presence = what.is_awaited().then(|| Presence::begin(pool.clone(), job.id.clone(), settings));
        Ok(Self {
            following,
            guard,
            _presence: presence,
            within,
            deadline: asked + within,
            had_begun: false,
            closing: state.closing(),
            stops_at: None,
            unread: 0,
        })
    }

    /// Its id.
    pub(crate) fn id(&self) -> &JobId {
        &self.guard.job
    }

    /// What comes first of the answer, waited for until a time; a request that no agent begins in time is given up.
    pub(crate) async fn first(&mut self, until: Option<Instant>) -> Result<First, ApiError> {
        loop {
            let far = Instant::now() + Duration::from_hours(1);
            let deadline = if self.has_begun() { far } else { self.deadline };
            let until = until.unwrap_or(far);
            match self.next(deadline.min(until)).await? {
                Step::Bytes(bytes) => return Ok(First::Bytes(bytes)),
                Step::Ended(ending) => {
                    self.is_over(&ending);
                    return Ok(First::Ended(ending));
                }
                Step::Nothing => self.keep_deadline()?,
            }
            if self.must_stop() {
                return Err(self.stopped().await);
            }
            if Instant::now() >= until {
                return Ok(First::Nothing);
            }
        }
    }

    /// What there is next, waited for until a time, or until this copy has to stop. One that an agent had begun, and that
    /// waits for another one now, has all of its time again for that.
    /// It outlives an outage of the store: what the agent does goes on meanwhile.
    pub(crate) async fn next(&mut self, until: Instant) -> Result<Step, StoreError> {
        let step = match self.step(until).await {
            Err(_) if self.unread < RETRIES => {
                self.unread += 1;
                load::waiting(sleep(RETRY_EVERY)).await;
                self.following.look_again();
                return Ok(Step::Nothing);
            }
            step => step,
        };
        self.unread = 0;
        if self.had_begun && !self.has_begun() {
            self.deadline = Instant::now() + self.within;
        }
        self.had_begun = self.has_begun();
        step
    }

    async fn step(&mut self, until: Instant) -> Result<Step, StoreError> {
        let closing = self.closing.clone();
        tokio::select! {
            biased;
            () = closing.cancelled(), if self.stops_at.is_none() => {
                self.stops_at = Some(Instant::now() + LAST_WORDS);
                self.following.look_again();
                Ok(Step::Nothing)
            }
            step = self.following.next(self.stops_at.map_or(until, |at| at.min(until))) => step,
        }
    }

    /// Whether this copy stops before the answer is whole.
    pub(crate) fn must_stop(&self) -> bool {
        self.stops_at.is_some_and(|at| Instant::now() >= at)
    }

    /// Gives the request up, since this copy stops; says so.
    pub(crate) async fn stopped(&mut self) -> ApiError {
        if self.guard.is_armed {
            // Here and now: soon there is nobody left to do it.
            let cancel = CancelJob { job: &self.guard.job };
            let cancelled = timeout(LAST_CANCEL, cancel.run(&self.guard.pool)).await;
            self.guard.is_armed = !matches!(cancelled, Ok(Ok(_)));
        }
        ApiError::Overloaded("this copy of the coordinator stops; ask again".to_owned())
    }

    /// Nobody has to cancel it: it is over, unless it runs on for nobody.
    pub(crate) fn is_over(&mut self, ending: &Ending) {
        self.guard.is_armed &= ending.runs_on;
    }

    /// All of the answer has come. Clients leave now, and the agent has yet to say how it ended and what it took.
    pub(crate) fn is_answered(&mut self) {
        self.guard.patience = ENDS_WITHIN;
    }

    /// Fails if no agent has begun it in time; it is then cancelled with this value.
    pub(crate) fn keep_deadline(&mut self) -> Result<(), ApiError> {
        if self.has_begun() || Instant::now() < self.deadline {
            return Ok(());
        }
        self.guard.is_armed = true;
        Err(too_late(self.following.attempt()))
    }

    fn has_begun(&self) -> bool {
        !matches!(self.following.state, JobState::Pending | JobState::Scheduled | JobState::Delayed)
    }

    /// Says in the reply who answers, and what the time until here was spent on.
    pub(crate) fn tell_who(&self) {
        let agent = self.following.agent.as_ref().and_then(|agent| HeaderValue::from_str(agent.as_str()).ok());
        notes::note(|notes| {
            notes.headers.extend(agent.map(|agent| (AGENT, agent)));
            notes.headers.push((ATTEMPT, HeaderValue::from(self.following.attempt())));
            notes.timings.extend(timings(&self.following.times));
        });
    }
}

/// Waiting for an agent, being handed to it, and its first byte.
fn timings(times: &Times) -> Vec<(&'static str, Duration)> {
    let now = Instant::now();
    let claimed = times.claimed.unwrap_or(now);
    let begun = times.begun.unwrap_or(claimed).max(claimed);
    let answered = times.answered.unwrap_or(now).max(begun);
    vec![("queue", claimed - times.asked), ("route", begun - claimed), ("first", answered - begun)]
}

/// The place in line, and when an agent may be free.
async fn tell_place(state: &AppState, pool: &Pool, job: &JobId) -> Result<(), StoreError> {
    let Some(waiting) = (WhyWaiting { job }).run(pool).await? else { return Ok(()) };
    let starts_in = waiting.may_start_at.map(|at| u64::try_from(at.as_ms() - state.clock.now_ms()).unwrap_or(0));
    notes::note(|notes| {
        notes.headers.push((QUEUE_PLACE, HeaderValue::from(waiting.place)));
        notes.headers.extend(starts_in.map(|ms| (QUEUE_ESTIMATE, HeaderValue::from(ms))));
    });
    Ok(())
}

fn accepted(outcome: SubmitOutcome, spec: &SubmitJob) -> Result<(Submitted, Option<Explanation>), ApiError> {
    match outcome {
        SubmitOutcome::Unserved { .. } => Err(no_such_model(spec)),
        other => {
            let (mut jobs, explanation) = submission::accepted(other, "", |index| index)?;
            let job = jobs.pop().ok_or_else(|| ApiError::Internal("no job was accepted".to_owned()))?;
            Ok((job, explanation))
        }
    }
}

fn no_such_model(spec: &SubmitJob) -> ApiError {
    let model = spec.inference.as_ref().map(|asked| asked.model.as_str()).unwrap_or_default();
    ApiError::ModelNotFound(format!(
        "no agent of this pool has a model {model:?}; `GET /v1/models` lists those there are"
    ))
}

/// After so many attempts.
fn too_late(attempts: u32) -> ApiError {
    let why = match attempts {
        0 => "no agent that has the model was free in time",
        _ => {
            "a try failed, as `titan jobs show` has under the id of the request, and no agent that has the model was free for another \
             one in time"
        }
    };
    ApiError::DeadlinePassed(format!("{why}; try again, or allow more time with X-Titan-Deadline-Ms"))
}

/// Why a request did not get an answer, or not all of it.
pub(crate) fn refusal(ending: &Ending) -> ApiError {
    match (ending.state, ending.reason) {
        (JobState::Cancelled, _) => ApiError::Conflict("the request was cancelled".to_owned()),
        (_, Some(Reason::DeadlinePassed)) => too_late(0),
        (_, Some(Reason::LoadTimeout)) => {
            ApiError::BackendStalled("the model was not loaded in time; the request can be repeated".to_owned())
        }
        (_, Some(Reason::Stalled)) => ApiError::BackendStalled(
            "the model's backend was silent for longer than X-Titan-First-Token-Ms, X-Titan-Token-Ms or, for an answer that \
             is not streamed, X-Titan-Answer-Ms allow"
                .to_owned(),
        ),
        (_, reason) => ApiError::BackendFailed(format!(
            "the request ended with `{}`; `titan jobs show` has more under the id of the request",
            reason.map_or("unknown", Reason::as_str)
        )),
    }
}

/// Cancels a request when it is dropped while it is armed: whoever asked has gone.
struct Guard {
    pool: Pool,
    job: JobId,
    is_armed: bool,
    /// Whether the store has said what came of the submission; else it may be on its way yet.
    is_submitted: bool,
    /// How long it may still take to end by itself.
    patience: Duration,
}

impl Guard {
    /// Notes what is known of the submission.
    fn hear(&mut self, sent: &Result<SubmitOutcome, StoreError>) {
        match sent {
            Err(StoreError::Unavailable(_) | StoreError::Corrupt(_)) => {}
            Ok(SubmitOutcome::Submitted { .. }) | Err(_) => self.is_submitted = true,
            Ok(_) => self.is_armed = false,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.is_armed {
            return;
        }
        let (pool, job) = (self.pool.clone(), self.job.clone());
        let (is_submitted, patience) = (self.is_submitted, self.patience);
        runtime.spawn(async move {
            sleep(patience).await;
            if !cancel(&pool, &job, is_submitted).await {
                let message = "a request that nobody waits for could not be cancelled";
                tracing::warn!(component = "relay", job.id = %job, "{message}");
            }
        });
    }
}

/// Cancels a request; whether the store has heard that. A submission that is still under way may be overtaken, by way of another
/// connection for example: then the job is looked for until it must have come, or never will.
async fn cancel(pool: &Pool, job: &JobId, is_submitted: bool) -> bool {
    let until = Instant::now() + CANCELLED_WITHIN;
    let mut pause = CANCEL_PAUSE;
    loop {
        let outcome = CancelJob { job }.run(pool).await;
        let may_come = matches!(outcome, Ok(CancelOutcome::NotFound)) && !is_submitted;
        if (outcome.is_ok() && !may_come) || Instant::now() >= until {
            return outcome.is_ok();
        }
        sleep(pause).await;
        pause = CANCEL_PAUSE_MOST.min(pause * 2);
    }
}

#[cfg(test)]
mod tests {
    use titan_api::ids::PoolName;
    use titan_lua::{PoolSettings, Store};

    use super::*;

    #[tokio::test]
    async fn a_submission_is_looked_for_only_as_long_as_nobody_knows_what_came_of_it() {
        let store = Store::new("redis://127.0.0.1:1", PoolSettings::default()).unwrap();
        let (pool, job) = (store.pool(&PoolName::default()), JobId::new("j").unwrap());
        for (sent, is_armed, is_submitted) in [
            (Err(StoreError::Unavailable(String::new())), true, false),
            (Err(StoreError::Corrupt(String::new())), true, false),
            (Err(StoreError::Full(String::new())), true, true),
            (Err(StoreError::NotReplicated { jobs: Vec::new() }), true, true),
            (Ok(SubmitOutcome::Submitted { jobs: Vec::new(), explanation: None }), true, true),
            (Ok(SubmitOutcome::Unserved { index: 0, ruled_out: Vec::new() }), false, false),
        ] {
            let (pool, job, patience) = (pool.clone(), job.clone(), Duration::from_hours(1));
            let mut guard = Guard { pool, job, is_armed: true, is_submitted: false, patience };
            guard.hear(&sent);
            assert_eq!((guard.is_armed, guard.is_submitted), (is_armed, is_submitted), "{sent:?}");
        }
    }
}
