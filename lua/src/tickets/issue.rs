//! `tickets/issue`: chooses the agent for a request that its client brings there itself.

use titan_api::{
    ids::{AgentId, JobId},
    jobs::SubmitJob,
    scheduler::Explanation,
};

use crate::{
    Pool, StoreError,
    agents::{Survey, Surveyed},
    jobs::{Need, Spec, class_of, explanation, model_of, title},
    reply::{Reply, unknown_word},
    script::{Args, script},
};

script!(Writes, "tickets/issue", uses [
    "key", "int", "later", "clock", "pool", later "event", "record", later "segment", "job", later "retention",
    later "ending", later "avoid", "agent", "room", "rank", "fit", later "capable", later "held", later "session",
    "place", "binding", later "attempt", later "fair", later "queue", later "dependencies", "class", later "hold",
    later "catalog", later "members", later "breaker", later "serving", later "settle", "due", later "explain",
]);

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
    /// Runs the script; once more after looking through the registry if it is not known whether the model is served.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<IssueOutcome, StoreError> {
        if let Some(outcome) = self.run_once(pool, false).await? {
            return Ok(outcome);
        }
        let (class, need) = (class_of(self.spec), Need::of(self.spec));
        if let Surveyed::Unserved(_) = (Survey { class: &class, need: &need }).run(pool).await? {
            return Ok(IssueOutcome::Unserved);
        }
        let second = self.run_once(pool, true).await?;
        second.ok_or_else(|| unknown_word("tickets/issue", "survey"))
    }

    async fn run_once(&self, pool: &Pool, served: bool) -> Result<Option<IssueOutcome>, StoreError> {
        let flag = |on: bool| if on { "1" } else { "" };
        let stored = Spec { job: self.spec.clone(), owner: self.owner.to_owned(), traceparent: None };
        let mut args = Args::new();
        args.push(self.owner)
            .push(self.id.as_str())
            .push(class_of(self.spec))
            .push(model_of(self.spec))
            .push(title(self.spec))
            .push(serde_json::to_string(&stored).map_err(|e| StoreError::Corrupt(e.to_string()))?)
            .push(self.session.unwrap_or_default())
            .push(self.hold_ms)
            .push(self.most)
            .push(flag(served))
            .push(flag(self.explain))
            .push(pool.now());
        let (word, reply) = pool.call(&SCRIPT, &args).await?;
        outcome(&word, reply)
    }
}

/// None if it first has to be found out whether any agent serves the model.
fn outcome(word: &str, mut reply: Reply) -> Result<Option<IssueOutcome>, StoreError> {
    Ok(Some(match word {
        "issued" => IssueOutcome::Issued(Issued {
            agent: reply.parse()?,
            endpoint: reply.text()?,
            score: reply.parse()?,
            explanation: explanation(reply.list()?)?,
        }),
        "unreachable" => IssueOutcome::Relay {
            best: Some((reply.parse()?, reply.parse()?)),
            explanation: explanation(reply.list()?)?,
        },
        "busy" => IssueOutcome::Relay { best: None, explanation: explanation(reply.list()?)? },
        "too_many" => IssueOutcome::TooMany(reply.parse()?),
        "survey" => return Ok(None),
        other => return Err(unknown_word("tickets/issue", other)),
    }))
}
