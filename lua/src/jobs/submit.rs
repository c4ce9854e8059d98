//! `jobs/submit`: accepts a job and places it at once if an agent is at hand.

use titan_api::{
    ids::{AgentId, JobId},
    jobs::SubmitJob,
    limits::{TITLE_BYTES, UNENDED_JOBS},
    scheduler::{Explanation, RuledOut},
};

use super::{
    explanation::explanation,
    spec::{Need, Spec, class_of, kind_word},
};
use crate::{
    Pool, StoreError,
    agents::{Survey, Surveyed},
    reply::unknown_word,
    script::{Args, script},
};

script!(Writes, "jobs/submit", uses [
    "key", "int", "later", "clock", "pool", "record", later "segment", "job", later "ending", later "avoid", "agent",
    "room", "rank", "fit", later "capable", later "held", "place", "binding", later "attempt", later "fair",
    later "queue", "class", later "hold", later "members", later "breaker", later "settle", "due", later "explain",
]);

/// Submits a job (`SubmitJob` is what the client sends). Repeating it with the same id is harmless.
#[derive(Debug, Clone, Copy)]
pub struct Submit<'a> {
    /// The id that the caller made for it.
    pub job: &'a JobId,
    /// The job; already checked against the bounds of `titan_api::limits`.
    pub spec: &'a SubmitJob,
    /// Who submits: the id of the API key, or `admin`.
    pub owner: &'a str,
    /// Whether to explain the choice.
    pub explain: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum SubmitOutcome {
    /// An agent was at hand, and the job is bound to it.
    Scheduled {
        /// The agent.
        agent: AgentId,
        /// Its score for this job when it was chosen, 0 to 1.
        score: f64,
        /// How it was chosen, if that was asked for.
        explanation: Option<Explanation>,
    },
    /// The job waits for an agent.
    Pending {
        /// Why nobody took it, if that was asked for.
        explanation: Option<Explanation>,
    },
    /// No registered agent could ever run it, and nothing was written.
    Unserved {
        /// How many agents each requirement rules out.
        ruled_out: Vec<RuledOut>,
    },
}

impl Submit<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<SubmitOutcome, StoreError> {
        let (class, need) = (class_of(self.spec), Need::of(self.spec));
        let first = self.run_once(pool, &class, &need, self.spec.allow_unserved).await?;
        if let Some(outcome) = first {
            return Ok(outcome);
        }
        if let Surveyed::Unserved(ruled_out) = (Survey { class: &class, need: &need }).run(pool).await? {
            return Ok(SubmitOutcome::Unserved { ruled_out });
        }
        let second = self.run_once(pool, &class, &need, true).await?;
        second.ok_or_else(|| unknown_word("jobs/submit", "survey"))
    }

    /// None if it first has to be found out whether any agent could ever run the job.
    async fn run_once(
        &self,
        pool: &Pool,
        class: &str,
        need: &Need,
        served: bool,
    ) -> Result<Option<SubmitOutcome>, StoreError> {
        let flag = |on: bool| if on { "1" } else { "" };
        let mut args = Args::new();
        args.push(self.job.as_str()).push(class).push(kind_word(self.spec.kind)).push("");
        args.push(need.gpus).push(need.vram_mb).push(need.ram_mb).push(need.cpus_milli);
        args.push(self.spec.priority).push(self.spec.max_attempts).push(title(&self.spec.process.command));
        args.push(self.stored_spec()?).push(flag(served)).push(flag(self.explain)).push(UNENDED_JOBS).push(pool.now());
        args.push(self.owner).push(flag(need.exclusive));
        let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
        match word.as_str() {
            "scheduled" => Ok(Some(SubmitOutcome::Scheduled {
                agent: reply.parse()?,
                score: reply.parse()?,
                explanation: explanation(reply.list()?)?,
            })),
            "pending" => Ok(Some(SubmitOutcome::Pending { explanation: explanation(reply.list()?)? })),
            "full" => Err(StoreError::Full(format!("the pool holds {UNENDED_JOBS} jobs that have not ended"))),
            "survey" => Ok(None),
            other => Err(unknown_word("jobs/submit", other)),
        }
    }

    fn stored_spec(&self) -> Result<String, StoreError> {
        let spec = Spec { job: self.spec.clone(), owner: self.owner.to_owned() };
        serde_json::to_string(&spec).map_err(|e| StoreError::Corrupt(e.to_string()))
    }
}

/// The command in one line, cut to what lists of jobs show.
fn title(command: &[String]) -> String {
    let mut line = command.join(" ");
    line.truncate(line.floor_char_boundary(TITLE_BYTES));
    line
}
