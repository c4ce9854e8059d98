//! `jobs/submit`: accepts jobs and places each at once if an agent is at hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    time::{Duration, Instant},
};

use serde_json::json;
use titan_api::{
    ids::{AgentId, JobId},
    inference::InferenceRoute,
    jobs::{JobState, OnDisconnect, SubmitJob},
    limits::{TITLE_BYTES, UNENDED_JOBS},
    scheduler::{Explanation, RuledOut},
    trace::TraceContext,
};

use super::{
    afford::Afford,
    explanation::explanation,
    spec::{Kept, Need, class_of, labels_text, model_of},
};
use crate::{
    Pool, Store, StoreError,
    agents::{Survey, Surveyed},
    latency,
    pack::Packed,
    reply::{Reply, unknown_word},
    script::{Args, script},
    together::{CHUNK, Own, Running, Shared, Together, Turn, within},
};

script!(Writes, "jobs/submit", uses [
    "calls", "key", "int", "later", "clock", "pool", "behind", later "event", "record", "sets", later "segment", "job",
    later "retention", later "ending", later "avoid", "terms", "agent", "room", "rank", "fit", later "capable", later "held",
    later "session", "place", "binding", later "lineup", later "attempt", "class", later "fair", later "line",
    later "queue", later "dependencies", later "idempotency", later "hold", later "catalog", later "members",
    later "breaker", later "serving", later "settle", "due", later "explain",
]);

/// How long after its end the prompt and the answer are kept of a request that nobody waits for, milliseconds.
const ASYNC_CONTENT_MS: u64 = 600_000;
/// The owner of what administrators submit.
const ADMIN: &str = "admin";
/// Bytes of what a model is asked that may go along with others.
const SHARED_PROMPT_BYTES: usize = 16 * 1_024;

/// Jobs of one run, and their classes.
type Chunk<'a> = (&'a [NewJob<'a>], &'a [String]);

/// A job to be accepted.
#[derive(Debug, Clone)]
pub struct NewJob<'a> {
    /// The id that the caller made for it.
    pub id: JobId,
    /// The job; already checked against the bounds of `titan_api::limits`. What it depends on is named by ids.
    pub spec: &'a SubmitJob,
    /// What makes a repeat known as one.
    pub idempotency: Option<Idempotency>,
    /// For a request to a model that somebody waits for.
    pub terms: Option<Terms>,
    /// What submits it, if that is part of a trace.
    pub trace: Option<TraceContext>,
}

/// What is special about a request to a model that somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// It fails if no agent has begun it by then, milliseconds from now.
    pub begin_within_ms: Option<u64>,
    /// When it is accepted at the latest, milliseconds since the epoch on the clock of Redis: then nobody waits for it any more.
    pub come_by_ms: Option<i64>,
    /// How long after its end the prompt and the answer are kept, milliseconds.
    pub keep_ms: u64,
    /// A hash of the conversation that it belongs to: letters and digits.
    pub session: Option<String>,
    /// An agent that gets it only if no other can.
    pub avoid: Option<AgentId>,
    /// Whether it goes on only as long as somebody follows its output: once nobody has for as long as a lease lasts, it does not
    /// begin any more, and its agent is told to end it.
    pub is_awaited: bool,
}

impl<'a> NewJob<'a> {
    /// A job without an idempotency key.
    #[must_use]
    pub fn new(id: &JobId, spec: &'a SubmitJob) -> Self {
        Self { id: id.clone(), spec, idempotency: None, terms: None, trace: None }
    }
}

/// An idempotency key, and the body that it was sent with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// A hash of the key, its owner, and which job of the call this is: 1 to 128 letters and digits.
    pub key: String,
    /// A hash of the body, likewise.
    pub body: String,
}

/// Submits jobs, all or none. One may depend on those before it. Repeating the call is harmless.
#[derive(Debug, Clone, Copy)]
pub struct Submit<'a> {
    /// The jobs, at least one.
    pub jobs: &'a [NewJob<'a>],
    /// Who submits: the id of the API key, or `admin`.
    pub owner: &'a str,
    /// Whether to explain the choice for the last of them.
    pub explain: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum SubmitOutcome {
    /// They are accepted.
    Submitted {
        /// Each of them, in order.
        jobs: Vec<Submitted>,
        /// How an agent was chosen for the last one, or why none was, if that was asked for.
        explanation: Option<Explanation>,
    },
    /// No registered agent could ever run this one, and nothing was written.
    Unserved {
        /// Which of the jobs.
        index: usize,
        /// How many agents each requirement rules out.
        ruled_out: Vec<RuledOut>,
    },
    /// What this one depends on is no job of the pool, and nothing was written.
    NoDependency {
        /// Which of the jobs.
        index: usize,
        /// What it depends on.
        job: String,
    },
    /// The idempotency key was used with another body, and nothing was written.
    Reused,
    /// The jobs are of kinds that are new to the pool, and their submitter has had as many made as it may for now; nothing
    /// was written.
    TooManyClasses {
        /// When it may again.
        wait: Duration,
    },
}

/// One accepted job.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    /// Its id: that of the first call if this one was a repeat.
    pub id: JobId,
    /// The state that it is in.
    pub state: JobState,
    /// The agent that it is bound to.
    pub agent: Option<AgentId>,
    /// The score of that agent for this job when it was chosen, 0 to 1.
    pub score: f64,
}

impl Submit<'_> {
    /// Runs the script, once for 32 jobs: it then holds Redis for less than 5 ms. If the call ends in between, a repeat with the same idempotency keys does the rest.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation. With [`StoreError::NotReplicated`] all of them are accepted, and no replica
    /// has all of them yet; a repeat with the same idempotency keys waits again.
    pub async fn run(&self, pool: &Pool) -> Result<SubmitOutcome, StoreError> {
        let classes: Vec<_> = self.jobs.iter().map(|job| class_of(job.spec)).collect();
        if let Some(wait) = self.unaffordable(pool, &classes).await? {
            return Ok(SubmitOutcome::TooManyClasses { wait });
        }
        let _running = match (self.jobs, classes.as_slice()) {
            ([job], [class]) if !self.explain && may_share(job) => match self.run_along(pool, job, class).await? {
                Along::Told(submitted) => {
                    return Ok(SubmitOutcome::Submitted { jobs: vec![submitted], explanation: None });
                }
                Along::ByItself(running) => running,
            },
            _ => None,
        };
        // Boxed, since most calls are told of their jobs, and each has room for what it waits for. Its type is left out, since the
        // compiler looks only so deep into one.
        let alone: Pin<Box<dyn Future<Output = _> + Send + '_>> = Box::pin(self.run_by_itself(pool, &classes));
        alone.await
    }

    /// Has a job accepted with those of others, if that is to be.
    async fn run_along(&self, pool: &Pool, job: &NewJob<'_>, class: &str) -> Result<Along, StoreError> {
        let (owner, allow_unserved) = (self.owner.to_owned(), job.spec.allow_unserved);
        let common = Common { owner, allow_unserved, now: pool.now() };
        let mut args = Args::new();
        self.push(&mut args, job, class, &BTreeMap::new())?;
        let begun = Instant::now();
        match Together::<Submissions>::enter(pool, common, Own { args, weight: 1 }).await {
            Turn::Run(running, _) => Ok(Along::ByItself(Some(running))),
            Turn::Wait(told) => Ok(within(pool, told).await?.map_or(Along::ByItself(None), |submitted| {
                latency::note(begun.elapsed());
                Along::Told(submitted)
            })),
        }
    }

    /// Runs the script for these jobs alone, whose classes these are.
    async fn run_by_itself(&self, pool: &Pool, classes: &[String]) -> Result<SubmitOutcome, StoreError> {
        if self.jobs.len() > 1
            && let Some((index, ruled_out)) = self.unserved(pool, classes).await?
        {
            return Ok(SubmitOutcome::Unserved { index, ruled_out });
        }
        let (mut accepted, mut explained) = (Vec::with_capacity(self.jobs.len()), None);
        // Once no replica answers, the rest is accepted without waiting for one: the call is to be repeated as a whole.
        let mut is_replicated = true;
        for chunk in self.jobs.chunks(CHUNK).zip(classes.chunks(CHUNK)) {
            let (outcome, has) = self.run_chunk(pool, chunk, accepted.as_slice(), is_replicated).await?;
            is_replicated &= has;
            let SubmitOutcome::Submitted { jobs, explanation } = outcome else {
                return Ok(outcome);
            };
            accepted.extend(jobs);
            explained = explanation;
        }
        if !is_replicated {
            return Err(StoreError::NotReplicated { jobs: accepted.into_iter().map(|job| job.id).collect() });
        }
        Ok(SubmitOutcome::Submitted { jobs: accepted, explanation: explained })
    }

    /// How long its submitter has to wait before it may have the classes made that it asks for. Administrators never have to.
    async fn unaffordable(&self, pool: &Pool, classes: &[String]) -> Result<Option<Duration>, StoreError> {
        if self.owner == ADMIN {
            return Ok(None);
        }
        let classes = classes.iter().map(String::as_str).collect();
        Afford { owner: self.owner, classes }.run(pool).await
    }

    /// The first job of a batch that no registered agent could ever run.
    async fn unserved(&self, pool: &Pool, classes: &[String]) -> Result<Option<(usize, Vec<RuledOut>)>, StoreError> {
        let mut known = BTreeSet::new();
        let jobs = self.jobs.iter().zip(classes).enumerate();
        for (index, (job, class)) in jobs.filter(|(_, (job, _))| !job.spec.allow_unserved) {
            let need = Need::of(job.spec);
            if known.insert((class, need))
                && let Surveyed::Unserved(ruled_out) = (Survey { class, need: &need }).run(pool).await?
            {
                return Ok(Some((index, ruled_out)));
            }
        }
        Ok(None)
    }

    async fn run_chunk(
        &self,
        pool: &Pool,
        chunk: Chunk<'_>,
        before: &[Submitted],
        waits: bool,
    ) -> Result<(SubmitOutcome, bool), StoreError> {
        let is_known = self.jobs.len() > 1 || chunk.0.iter().all(|job| job.spec.allow_unserved);
        if let Some(outcome) = self.run_once(pool, chunk, before, is_known, waits).await? {
            return Ok(outcome);
        }
        for (job, class) in chunk.0.iter().zip(chunk.1) {
            let need = Need::of(job.spec);
            if let Surveyed::Unserved(ruled_out) = (Survey { class, need: &need }).run(pool).await? {
                return Ok((SubmitOutcome::Unserved { index: before.len(), ruled_out }, true));
            }
        }
        let second = self.run_once(pool, chunk, before, true, waits).await?;
        second.ok_or_else(|| unknown_word("jobs/submit", "survey"))
    }

    /// None if it first has to be found out whether any agent could ever run the job. With the outcome comes whether a
    /// replica has it, where one is waited for.
    async fn run_once(
        &self,
        pool: &Pool,
        chunk: Chunk<'_>,
        before: &[Submitted],
        served: bool,
        waits: bool,
    ) -> Result<Option<(SubmitOutcome, bool)>, StoreError> {
        let flag = |on: bool| if on { "1" } else { "" };
        // The ids that the jobs before got, where this call is a repeat.
        let meant: BTreeMap<&str, &str> =
            self.jobs.iter().zip(before).map(|(job, got)| (job.id.as_str(), got.id.as_str())).collect();
        let room = if before.is_empty() { self.jobs.len() } else { 0 };
        let mut args = Args::new();
        args.push(self.owner).push(room).push(UNENDED_JOBS).push(flag(served)).push(flag(self.explain));
        args.push(pool.now());
        for (job, class) in chunk.0.iter().zip(chunk.1) {
            self.push(&mut args, job, class, &meant)?;
        }
        let words: &[&str] = if waits { &["submitted"] } else { &[] };
        let (word, mut reply, has) = pool.call_as(&SCRIPT, &args, words).await?;
        let outcome = match word.as_str() {
            "submitted" => {
                let jobs = reply.list()?.rest(|r| submitted(r.line()?))?;
                SubmitOutcome::Submitted { jobs, explanation: explanation(reply.list()?)? }
            }
            "late" => return Err(StoreError::Late { now_ms: reply.parse()? }),
            "full" => return Err(StoreError::full_of_jobs()),
            "full_of_prompts" => return Err(StoreError::full_of_prompts(pool.store().settings().prompt_budget_bytes)),
            "no_dependency" => {
                let index = before.len() + reply.parse::<usize>()?;
                SubmitOutcome::NoDependency { index, job: reply.text()? }
            }
            "reused" => SubmitOutcome::Reused,
            "survey" => return Ok(None),
            other => return Err(unknown_word("jobs/submit", other)),
        };
        Ok(Some((outcome, has)))
    }

    fn push(
        &self,
        args: &mut Args,
        job: &NewJob<'_>,
        class: &str,
        meant: &BTreeMap<&str, &str>,
    ) -> Result<(), StoreError> {
        let spec = job.spec;
        let session = job.terms.as_ref().and_then(|terms| terms.session.as_deref());
        let idem = job.idempotency.as_ref().map(|idempotency| idempotency.key.as_str());
        let [before, after] = as_submitted(spec, spec.max_attempts, self.owner, session, idem);
        let depends_on = dependencies(spec, meant).collect();
        args.push(job.id.as_str()).push(class).push(before).push(after);
        args.push_json(&Kept { job: spec, depends_on, owner: self.owner, trace: job.trace.as_ref() })?;
        args.push(options(job, meant));
        args.push(spec.inference.as_ref().map(|asked| asked.body.as_str()).unwrap_or_default());
        Ok(())
    }
}

/// Whether a job may go along with others: jobs of one run do not see each other, and a run must not be long.
fn may_share(job: &NewJob<'_>) -> bool {
    let prompt_bytes = job.spec.inference.as_ref().map_or(0, |asked| asked.body.len());
    job.idempotency.is_none() && job.spec.depends_on.is_empty() && prompt_bytes <= SHARED_PROMPT_BYTES
}

/// What came of going along with others.
enum Along {
    /// The job is accepted.
    Told(Submitted),
    /// The call runs the script for itself, in its turn or since the others' run came to nothing.
    ByItself(Option<Running<Submissions>>),
}

/// Submissions of single jobs that share runs.
#[derive(Debug)]
pub(crate) struct Submissions;

/// The arguments that a shared run has once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Common {
    owner: String,
    allow_unserved: bool,
    /// As [`Pool::now`] has it.
    now: String,
}

impl Shared for Submissions {
    type Common = Common;
    type Told = Submitted;

    fn line(store: &Store) -> &Together<Self> {
        store.submissions()
    }

    /// Accepts all of the jobs or none.
    async fn run(pool: &Pool, common: Common, jobs: Vec<Args>) -> Option<Vec<Submitted>> {
        let mut args = Args::new();
        args.push(common.owner).push(jobs.len()).push(UNENDED_JOBS).push(if common.allow_unserved { "1" } else { "" });
        args.push("").push(common.now);
        for job in jobs {
            args.append(&job);
        }
        match pool.call_replicated(&SCRIPT, &args, &["submitted"]).await {
            Ok((word, mut reply)) if word == "submitted" => reply.list().ok()?.rest(|r| submitted(r.line()?)).ok(),
            _ => None,
        }
    }
}

/// What a job's record keeps as it was submitted, packed as `lib/job` has it: what stands behind the class and before the time,
/// and what stands behind that.
pub(crate) fn as_submitted(
    spec: &SubmitJob,
    max_attempts: u32,
    owner: &str,
    session: Option<&str>,
    idem: Option<&str>,
) -> [Vec<u8>; 2] {
    let need = Need::of(spec);
    let (mut before, mut after) = (Packed::new(), Packed::new());
    before.text(spec.kind.as_str()).text(model_of(spec)).integer(need.gpus).integer(need.vram_mb).integer(need.ram_mb);
    before.integer(need.cpus_milli).integer(spec.priority).integer(max_attempts);
    after.text(&title(spec)).text(owner).integer(spec.backoff_ms);
    after.some(need.exclusive.then_some(()), |p, ()| p.yes());
    after.some(session, Packed::text);
    after.some((!spec.labels.is_empty()).then(|| labels_text(&spec.labels)), |p, labels| p.text(&labels));
    after.some((spec.on_disconnect == OnDisconnect::Keep).then_some(spec.disconnect_grace_ms), Packed::integer);
    after.some((!spec.depends_on.is_empty()).then(|| spec.on_dependency_failure.as_str()), Packed::text);
    after.some(idem, Packed::text);
    [before.into_bytes(), after.into_bytes()]
}

/// What few jobs have beside that, as JSON; "" for those that have none of it.
fn options(job: &NewJob<'_>, meant: &BTreeMap<&str, &str>) -> String {
    let spec = job.spec;
    let mut options = serde_json::Map::new();
    if let Some(time) = spec.not_before {
        options.insert("not_before".to_owned(), json!(time.as_ms()));
    }
    if !spec.depends_on.is_empty() {
        options.insert("depends_on".to_owned(), json!(dependencies(spec, meant).collect::<Vec<_>>()));
    }
    if let Some(terms) = &job.terms {
        options.insert("within".to_owned(), json!(terms.begin_within_ms));
        options.insert("come_by".to_owned(), json!(terms.come_by_ms));
        options.insert("avoid".to_owned(), json!(terms.avoid));
        options.insert("awaited".to_owned(), json!(terms.is_awaited.then_some(true)));
        options.retain(|_, value| !value.is_null());
    }
    if spec.inference.is_some() {
        let keep_ms = job.terms.as_ref().map_or(ASYNC_CONTENT_MS, |terms| terms.keep_ms);
        options.insert("keeps".to_owned(), json!(keep_ms));
    }
    if let Some(idempotency) = &job.idempotency {
        options.insert("idem".to_owned(), json!({ "key": idempotency.key, "body": idempotency.body }));
    }
    if options.is_empty() { String::new() } else { serde_json::Value::Object(options).to_string() }
}

/// What a job depends on, by the ids that those jobs got.
fn dependencies<'a>(spec: &'a SubmitJob, meant: &BTreeMap<&'a str, &'a str>) -> impl Iterator<Item = &'a str> {
    spec.depends_on.iter().map(|id| meant.get(id.as_str()).copied().unwrap_or(id.as_str()))
}

fn submitted(mut r: Reply) -> Result<Submitted, StoreError> {
    let (id, state) = (r.parse()?, r.text()?);
    let state = JobState::from_word(&state).ok_or_else(|| unknown_word("jobs/submit", &state))?;
    Ok(Submitted { id, state, agent: r.some()?, score: r.parse()? })
}

/// The model that a pull is about.
fn pulled(spec: &SubmitJob) -> Option<String> {
    let asked = spec.inference.as_ref().filter(|asked| asked.route == InferenceRoute::Pull)?;
    let body: serde_json::Value = serde_json::from_str(&asked.body).ok()?;
    body["model"].as_str().map(str::to_owned)
}

/// The command in one line, or the model, cut to what lists of jobs show.
fn title(spec: &SubmitJob) -> String {
    const CUT: char = '…';
    let command = spec.process.command.join(" ");
    let asked = || pulled(spec).map_or_else(|| model_of(spec).to_owned(), |model| format!("pull {model}"));
    let mut line = if command.is_empty() { asked() } else { command };
    if line.len() > TITLE_BYTES {
        line.truncate(line.floor_char_boundary(TITLE_BYTES - CUT.len_utf8()));
        line.push(CUT);
    }
    line
}
