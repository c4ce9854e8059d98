//! The calls that a store takes and what it answers, in a form that model and store share.

use std::collections::BTreeSet;

use titan_api::{
    agents::{Facts, Measures},
    ids::{AgentId, JobId, LeaseId},
    jobs::{JobState, SubmitJob},
    work::{Answer, HeldLease, Report},
};
use titan_lua::{agents::TurnedAway, jobs::RetryOutcome};

/// One call.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub(super) enum Call {
    Join {
        agent: AgentId,
    },
    Register {
        agent: AgentId,
        instance: String,
        facts: Facts,
        running: Vec<HeldLease>,
    },
    Beat {
        from: From,
        seq: u64,
        last_claim: u64,
        measures: Measures,
        leases: Vec<HeldLease>,
        leaving: bool,
    },
    Claim {
        from: From,
        number: u64,
        slots: u32,
        measures: Option<Measures>,
        reachable_ms: u64,
    },
    Report {
        from: From,
        reports: Vec<Report>,
        next: Option<Next>,
    },
    Drain {
        agent: AgentId,
        draining: bool,
    },
    Remove {
        agent: AgentId,
    },
    Submit {
        jobs: Vec<Wish>,
        owner: String,
    },
    Retry {
        job: JobId,
    },
    Cancel {
        job: JobId,
    },
    /// Repeated until nothing is overdue.
    Sweep,
}

impl Call {
    /// For a person to read: without what is the same every time.
    pub(super) fn in_short(&self) -> String {
        match self {
            Self::Register { agent, instance, facts, running } => {
                format!("register {agent} {instance} max_jobs {} taking over {running:?}", facts.max_jobs)
            }
            Self::Submit { jobs, owner } => {
                let jobs: Vec<_> = jobs.iter().map(Wish::in_short).collect();
                format!("{owner} submits {}", jobs.join("; "))
            }
            other => format!("{other:?}"),
        }
    }
}

/// A claim that comes with reports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    pub(super) number: u64,
    pub(super) slots: u32,
    pub(super) reachable_ms: u64,
}

/// A job that is submitted.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) job: JobId,
    pub(super) spec: SubmitJob,
    /// The idempotency key and what its body is known by.
    pub(super) idem: Option<(String, String)>,
}

impl Wish {
    fn in_short(&self) -> String {
        let (job, idem) = (&self.job, &self.idem);
        let SubmitJob { requirements: r, priority, max_attempts, allow_unserved, not_before, backoff_ms, .. } =
            &self.spec;
        let (after, on_failure) = (&self.spec.depends_on, self.spec.on_dependency_failure);
        format!(
            "{job} {r:?} priority {priority} attempts {max_attempts} each after {backoff_ms} ms unserved {allow_unserved} \
             not before {not_before:?} after {after:?}, if one fails {on_failure:?}, as {idem:?}"
        )
    }
}

/// A job that was accepted, the state that it is in, and the agent that it is bound to.
pub(super) type Accepted = (JobId, JobState, Option<AgentId>);

/// An agent and its incarnation.
#[derive(Debug, Clone)]
pub(super) struct From {
    pub(super) agent: AgentId,
    pub(super) epoch: i64,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    Joined,
    Registered {
        epoch: i64,
        stop: Vec<HeldLease>,
    },
    Taken,
    Removed,
    NotFound,
    TurnedAway(TurnedAway),
    Heard {
        stop: Vec<HeldLease>,
        cancel: BTreeSet<JobId>,
        draining: bool,
    },
    Claimed {
        leases: BTreeSet<Given>,
        cancel: BTreeSet<JobId>,
    },
    Reported {
        answers: Vec<Answer>,
        leases: BTreeSet<Given>,
        cancel: BTreeSet<JobId>,
    },
    Done,
    Submitted {
        jobs: Vec<Accepted>,
    },
    Unserved,
    /// What that one of the jobs depends on is no job.
    NoDependency {
        index: usize,
        job: String,
    },
    /// The idempotency key is another body's.
    Reused,
    Retried(RetryOutcome),
    Cancelled {
        state: JobState,
        cancelling: bool,
    },
    Swept,
}

/// A lease that was given. The model does not know the ids of new ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Given {
    pub(super) job: JobId,
    pub(super) attempt: u32,
    pub(super) devices: Vec<String>,
    pub(super) lease: Option<LeaseId>,
}

impl Reply {
    /// What kind of reply it is, for counting.
    pub(super) fn word(&self) -> String {
        let text = format!("{self:?}");
        let end = text.find([' ', '{']).unwrap_or(text.len());
        text[..end].to_owned()
    }

    /// The leases that a claim brought, whether it came alone or with reports.
    pub(super) fn leases(&self) -> Option<&BTreeSet<Given>> {
        match self {
            Self::Claimed { leases, .. } | Self::Reported { leases, .. } => Some(leases),
            _ => None,
        }
    }

    /// Whether the store's reply is what the model expects.
    pub(super) fn is_met_by(&self, real: &Self) -> bool {
        match (self, real) {
            (Self::Claimed { leases, cancel }, Self::Claimed { leases: real, cancel: really_cancel }) => {
                cancel == really_cancel && are_met_by(leases, real)
            }
            (
                Self::Reported { answers, leases, cancel },
                Self::Reported { answers: really_answers, leases: real, cancel: really_cancel },
            ) => (answers, cancel) == (really_answers, really_cancel) && are_met_by(leases, real),
            (expected, real) => expected == real,
        }
    }
}

fn are_met_by(leases: &BTreeSet<Given>, real: &BTreeSet<Given>) -> bool {
    leases.len() == real.len() && leases.iter().zip(real).all(|(a, b)| a.is_met_by(b))
}

impl Given {
    fn is_met_by(&self, real: &Self) -> bool {
        let same_lease = self.lease.is_none() || self.lease == real.lease;
        same_lease && (&self.job, self.attempt, &self.devices) == (&real.job, real.attempt, &real.devices)
    }
}
