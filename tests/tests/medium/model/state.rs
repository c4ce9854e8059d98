//! What a pool holds, said plainly: maps of agents and jobs, and times.

use std::collections::{BTreeMap, BTreeSet};

use titan_api::{
    agents::{AgentState, Facts, Trouble},
    jobs::{JobState, Reason, SubmitJob},
    scheduler::Weights,
};
use titan_lua::PoolSettings;

use super::{
    choices::Choices,
    classes::Classes,
    keeping::KeptOutput,
    lines::{Class, Line},
};

pub(super) type Name = String;
pub(super) type JobName = String;

/// A pool.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) settings: PoolSettings,
    pub(super) weights: Weights,
    pub(super) clock: Clock,
    /// Orders submissions and uses of agents.
    pub(super) counter: i64,
    /// Who joined: the public key, or none once removed.
    pub(super) identities: BTreeMap<Name, Option<String>>,
    pub(super) agents: BTreeMap<Name, Agent>,
    pub(super) jobs: BTreeMap<JobName, Job>,
    /// The job that each idempotency key stands for, and the body that it was sent with.
    pub(super) keys: BTreeMap<String, (JobName, String)>,
    /// Who waits for the end of a job, in the order in which they began to.
    pub(super) dependents: BTreeMap<JobName, Vec<JobName>>,
    /// Bytes of output that are kept.
    pub(super) output: u64,
    /// When things are next looked at.
    pub(super) due: BTreeMap<Thing, i64>,
    pub(super) classes: Classes,
    /// Whose turn it is among the waiting jobs of a class, by priority.
    pub(super) lines: BTreeMap<Class, BTreeMap<i32, Line>>,
    /// The job that holds an agent, by priority.
    pub(super) holds: BTreeMap<i32, JobName>,
    /// Agents that were held until this call.
    pub(super) freed: Vec<Name>,
    /// Jobs that this call has given to agents because of room that they had, and dependents that it has told.
    pub(super) filled: usize,
    /// Whether this call has told dependents of an end.
    pub(super) has_told: bool,
    /// When jobs begin that wait after an attempt, as the store has it: the rules say no more than between what times.
    pub(super) hints: BTreeMap<JobName, i64>,
    /// What the last call has told listeners.
    pub(super) told: Vec<String>,
    pub(super) choices: Choices,
}

/// The pool's time, and whom it has heard.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_field_names, reason = "units in names")]
pub(super) struct Clock {
    pub(super) now_ms: i64,
    pub(super) heard_ms: i64,
    /// Until when nothing is settled.
    pub(super) amnesty_ms: i64,
    /// The silence that the last amnesty was for.
    pub(super) forgiven_ms: i64,
}

/// Something that falls due.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    /// Those that wait for the end of this job are to be told.
    After(JobName),
    Agent(Name),
    /// It is yet to be made, or may be dropped.
    Class(Class),
    /// Jobs that ended long ago are to be forgotten.
    Ended,
    /// Whether jobs were passed over.
    Hold,
    Job(JobName),
    /// An agent had more room than one call may fill.
    Room(Name),
}

/// A registered agent.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    pub(super) facts: Facts,
    pub(super) instance: String,
    /// The runs that were superseded.
    pub(super) past: Vec<String>,
    pub(super) epoch: i64,
    pub(super) state: AgentState,
    pub(super) health: Health,
    pub(super) draining: bool,
    pub(super) leaving: bool,
    /// Until when a job reaches it at once.
    pub(super) reach_ms: i64,
    /// When its next heartbeat is expected.
    pub(super) next_ms: i64,
    pub(super) seen_ms: i64,
    pub(super) offline_ms: i64,
    pub(super) on_time: u32,
    pub(super) seq: u64,
    pub(super) claim: u64,
    /// The counter when it was last given a job.
    pub(super) used: i64,
    pub(super) rtt_ms: Option<f64>,
    pub(super) measured: Option<Measured>,
    pub(super) live: BTreeMap<JobName, Live>,
    /// The job that it keeps something for.
    pub(super) held: Option<JobName>,
    /// Which of its devices those are.
    pub(super) kept: Kept,
}

/// Devices that are kept for a job.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    pub(super) devices: Vec<String>,
    pub(super) since_ms: i64,
    /// When they are chosen again.
    pub(super) again_ms: i64,
}

/// What the breaker knows of an agent.
#[derive(Debug, Clone, Default)]
pub(super) struct Health {
    /// How often the state has changed.
    pub(super) edge: u64,
    /// Failures in a row.
    pub(super) fails: u32,
    /// Successes in a row, or trials that went well.
    pub(super) wins: u32,
    pub(super) cause: Option<Trouble>,
    /// The last cool-down, and its end.
    pub(super) cool_ms: Option<i64>,
    pub(super) until_ms: Option<i64>,
    pub(super) trial: Option<JobName>,
    /// Since when a half-open agent waits for a trial.
    pub(super) asked_ms: i64,
    pub(super) guarded: bool,
}

/// The last measurement, in the steps that are kept.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) at_ms: i64,
    pub(super) ram_mb: Option<i64>,
    /// By GPU: free, and used by our attempts.
    pub(super) gpus: BTreeMap<String, (i64, Option<i64>)>,
    pub(super) seen: BTreeSet<JobName>,
}

/// Something that an agent holds.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) phase: Phase,
    pub(super) attempt: u32,
    pub(super) lease: String,
    pub(super) devices: Vec<String>,
    pub(super) vram_mb: i64,
    pub(super) ram_mb: i64,
    pub(super) cpus_milli: i64,
    pub(super) since_ms: i64,
    /// The number of the claim that brought it.
    pub(super) claim: u64,
    /// Whether it has its devices to itself.
    pub(super) exclusive: bool,
    /// How often the agent's state had changed when it began.
    pub(super) edge: u64,
}

/// How far a live attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// In the agent's queue.
    Bound,
    /// Under a lease.
    Running,
    /// Cancelled, its processes not known to be gone.
    Ending,
}

/// A job.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) spec: SubmitJob,
    pub(super) owner: String,
    pub(super) state: JobState,
    /// Lower goes first: by priority, then by tag. None before it waited or was bound.
    pub(super) order: Option<(i32, i64)>,
    /// The agent that it holds.
    pub(super) holds: Option<Name>,
    /// Since when it waits to be started.
    pub(super) waits_ms: Option<i64>,
    pub(super) created_ms: i64,
    pub(super) agent: Option<Name>,
    pub(super) attempt: u32,
    /// Attempts that do not count.
    pub(super) free: u32,
    pub(super) lease: Option<String>,
    pub(super) lease_until_ms: i64,
    pub(super) bound_until_ms: i64,
    pub(super) started_ms: Option<i64>,
    pub(super) ended_ms: Option<i64>,
    /// Where it stands among those that ended: by the time of its end, or when it was put behind the others.
    pub(super) listed_ms: i64,
    pub(super) cancelling: bool,
    /// The lease whose end was reported last.
    pub(super) done: Option<String>,
    pub(super) written: u64,
    pub(super) devices: Vec<String>,
    pub(super) outcome: Outcome,
    pub(super) failures: Vec<Failure>,
    /// Agents to pass over while another fits, latest first.
    pub(super) avoid: Vec<Name>,
    /// Agents that refused it.
    pub(super) refused: Vec<Name>,
    /// Agents that failed it, and how often their state had changed when the attempt began, latest first.
    pub(super) suspects: Vec<(Name, u64)>,
    /// Made by the pool to try an agent.
    pub(super) is_probe: bool,
    /// Until when it waits, or was to wait, before it is placed.
    pub(super) not_before_ms: Option<i64>,
    /// How many jobs it waits for.
    pub(super) needs: Option<u32>,
    /// Whether others may wait for it that were not told of its end.
    pub(super) has_dependents: bool,
    pub(super) output: KeptOutput,
}

/// Whether an attempt counts against the most, and whether the next one waits a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spent {
    /// It does not count.
    Free,
    Counts,
    /// It counts, and how it ended was the job's doing.
    ByItsOwnDoing,
}

/// How the latest attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Outcome {
    pub(super) reason: Option<Reason>,
    pub(super) exit_code: Option<i32>,
    pub(super) signal: Option<i32>,
    pub(super) message: Option<String>,
}

/// One attempt that ended other than well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) attempt: u32,
    pub(super) agent: Name,
    pub(super) at_ms: i64,
    pub(super) outcome: Outcome,
}

impl Model {
    pub(super) fn new(settings: PoolSettings, weights: Weights, now_ms: i64) -> Self {
        Self {
            settings,
            weights,
            clock: Clock { now_ms, heard_ms: now_ms, ..Clock::default() },
            counter: 0,
            identities: BTreeMap::new(),
            agents: BTreeMap::new(),
            jobs: BTreeMap::new(),
            keys: BTreeMap::new(),
            dependents: BTreeMap::new(),
            output: 0,
            due: BTreeMap::new(),
            classes: Classes::new(),
            lines: BTreeMap::new(),
            holds: BTreeMap::new(),
            freed: Vec::new(),
            filled: 0,
            has_told: false,
            hints: BTreeMap::new(),
            told: Vec::new(),
            choices: Choices::default(),
        }
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.now_ms
    }

    /// A setting, milliseconds.
    pub(super) fn ms(setting: u64) -> i64 {
        i64::try_from(setting).unwrap()
    }

    pub(super) fn next_count(&mut self) -> i64 {
        self.counter += 1;
        self.counter
    }

    pub(super) fn wake(&mut self, thing: Thing, at_ms: i64) {
        self.due.insert(thing, at_ms);
    }

    pub(super) fn agent(&mut self, name: &str) -> &mut Agent {
        self.agents.get_mut(name).expect("a known agent")
    }

    pub(super) fn job(&mut self, id: &str) -> &mut Job {
        self.jobs.get_mut(id).expect("a known job")
    }
}

impl Job {
    /// Attempts that count against the most.
    pub(super) fn spent(&self) -> u32 {
        self.attempt - self.free
    }
}
