//! `tickets/issue`: chooses the agent for a request that its client brings there itself.

use std::time::Instant;

use titan_api::{
    ids::{AgentId, JobId},
    jobs::SubmitJob,
    scheduler::Explanation,
};

use crate::{
    Pool, Store, StoreError,
    agents::{Survey, Surveyed},
    jobs::{Kept, Need, as_submitted, class_of, explanation},
    latency,
    reply::{Reply, unknown_word},
    script::{Args, script},
    together::{Own, Shared, Together, Turn, within},
};

script!(Writes, "tickets/issue", uses [
    "calls", "key", "int", "later", "clock", "pool", "behind", later "event", "record", "sets", later "segment", "job",
    later "retention", later "ending", later "avoid", "terms", "agent", "room", "rank", "fit", later "capable", later "held",
    later "session", "place", "binding", later "attempt", "class", later "fair", later "line", later "queue",
    later "dependencies", later "hold", later "catalog", later "members", later "breaker", later "serving",
    later "settle", "due", later "lineup", later "explain",
]);

/// A ticket is good once, whatever its request would be good for.
const ATTEMPTS: u32 = 1;

/// Asks for a ticket.
#[derive(Debug, Clone, Copy)]
pub struct Issue<'a> {
    /// The id that it gets, new with each call.
    pub id: &'a JobId,
    /// Who asks: the id of the API key, or `admin`.
    pub owner: &'a str,
    /// The request, without a body.
    pub spec: &'a SubmitJob,
    /// A hash of the conversation that it belongs to.
    pub session: Option<&'a str>,
    /// How long a place is kept, milliseconds; 0 if the caller can sign no ticket, so that none is kept.
    pub hold_ms: u64,
    /// How many unused ones the owner may have.
    pub most: u32,
    /// Whether to explain the choice.
    pub explain: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum IssueOutcome {
    /// A place is kept.
    Issued(Issued),
    /// The best agent has no endpoint, none has room, or no place was to be kept; nothing is kept.
    Relay {
        /// The best agent, and its score.
        best: Option<(AgentId, f64)>,
        /// How it was chosen.
        explanation: Option<Explanation>,
    },
    /// No registered agent serves the model.
    Unserved,
    /// The owner has too many unused ones for another so many milliseconds.
    TooMany(u64),
}

/// A place that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Issued {
    /// The agent.
    pub agent: AgentId,
    /// Where clients reach it.
    pub endpoint: String,
    /// Its score when it was chosen.
    pub score: f64,
    /// How it was chosen, if that was asked for.
    pub explanation: Option<Explanation>,
}

impl Issue<'_> {
    /// Runs the script, or has it run for several at once; once more after looking through the registry if it is not known
    /// whether the model is served.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<IssueOutcome, StoreError> {
        if let Some(outcome) = self.run_in_turn(pool).await? {
            return Ok(outcome);
        }
        let (class, need) = (class_of(self.spec), Need::of(self.spec));
        if let Surveyed::Unserved(_) = (Survey { class: &class, need: &need }).run(pool).await? {
            return Ok(IssueOutcome::Unserved);
        }
        let second = self.run_once(pool, true, self.own()?).await?;
        second.ok_or_else(|| unknown_word("tickets/issue", "survey"))
    }

    async fn run_in_turn(&self, pool: &Pool) -> Result<Option<IssueOutcome>, StoreError> {
        // An explanation looks at hundreds of agents, and a run must not be long.
        if self.explain {
            return self.run_once(pool, false, self.own()?).await;
        }
        let begun = Instant::now();
        match Together::<Issuings>::enter(pool, self.common(pool, false), Own { args: self.own()?, weight: 1 }).await {
            Turn::Run(_running, own) => self.run_once(pool, false, own.args).await,
            Turn::Wait(told) => match within(pool, told).await? {
                Ok(outcome) => {
                    latency::note(begun.elapsed());
                    Ok(outcome)
                }
                Err(_) => self.run_once(pool, false, self.own()?).await,
            },
        }
    }

    async fn run_once(&self, pool: &Pool, served: bool, own: Args) -> Result<Option<IssueOutcome>, StoreError> {
        let outcome = issue_all(pool, &self.common(pool, served), &[own]).await?.pop();
        outcome.ok_or_else(|| StoreError::Corrupt("tickets/issue gave no answer".to_owned()))
    }

    fn common(&self, pool: &Pool, is_served: bool) -> Common {
        Common { now: pool.now(), hold_ms: self.hold_ms, most: self.most, is_served, explain: self.explain }
    }

    /// The arguments of this one.
    fn own(&self) -> Result<Args, StoreError> {
        let [before, after] = as_submitted(self.spec, ATTEMPTS, self.owner, self.session, None);
        let kept = Kept { job: self.spec, depends_on: Vec::new(), owner: self.owner, trace: None };
        let mut args = Args::new();
        args.push(self.owner)
            .push(self.id.as_str())
            .push(class_of(self.spec))
            .push(before)
            .push(after)
            .push_json(&kept)?;
        Ok(args)
    }
}

/// Tickets that share runs.
#[derive(Debug)]
pub(crate) struct Issuings;

/// The arguments that a run has once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Common {
    /// As [`Pool::now`] has it.
    now: String,
    hold_ms: u64,
    most: u32,
    /// Whether it is known that some agent serves the model.
    is_served: bool,
    explain: bool,
}

impl Shared for Issuings {
    type Common = Common;
    type Told = Option<IssueOutcome>;

    fn line(store: &Store) -> &Together<Self> {
        store.issuings()
    }

    async fn run(pool: &Pool, common: Common, tickets: Vec<Args>) -> Option<Vec<Option<IssueOutcome>>> {
        issue_all(pool, &common, &tickets).await.ok()
    }
}

/// Runs the script once. None for a ticket of which it first has to be found out whether any agent serves the model.
async fn issue_all(pool: &Pool, common: &Common, tickets: &[Args]) -> Result<Vec<Option<IssueOutcome>>, StoreError> {
    let flag = |on: bool| if on { "1" } else { "" };
    let mut args = Args::new();
    args.push(&common.now)
        .push(common.hold_ms)
        .push(common.most)
        .push(flag(common.is_served))
        .push(flag(common.explain));
    for ticket in tickets {
        args.append(ticket);
    }
    let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
    if word != "answered" {
        return Err(unknown_word("tickets/issue", &word));
    }
    let (answers, explanation) = (reply.list()?, explanation(reply.list()?)?);
    answers.rest(|answers| outcome(answers.line_of(4)?, explanation.as_ref()))
}

fn outcome(mut answer: Reply, explanation: Option<&Explanation>) -> Result<Option<IssueOutcome>, StoreError> {
    let explanation = explanation.cloned();
    Ok(Some(match answer.text()?.as_str() {
        "issued" => {
            let (agent, score, endpoint) = (answer.parse()?, answer.parse()?, answer.text()?);
            IssueOutcome::Issued(Issued { agent, endpoint, score, explanation })
        }
        "unreachable" => IssueOutcome::Relay { best: Some((answer.parse()?, answer.parse()?)), explanation },
        "busy" => IssueOutcome::Relay { best: None, explanation },
        "too_many" => IssueOutcome::TooMany(answer.parse()?),
        "survey" => return Ok(None),
        other => return Err(unknown_word("tickets/issue", other)),
    }))
}
