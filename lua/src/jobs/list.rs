//! `jobs/list`: a page of jobs, newest first.

use titan_api::{
    ids::{AgentId, JobId},
    jobs::{JobKind, JobState, JobSummary, Reason},
    time::Timestamp,
};

use super::spec::{label_line, labels_of};
use crate::{
    Pool, StoreError,
    reply::{Reply, unknown_word},
    script::{Args, script},
};

script!(Reads, "jobs/list", uses ["calls", "key", "clock", "pool", "record", "job"]);

/// Runs of the script for one page.
const SCRIPTS: usize = 4;

/// Reads a page of jobs.
#[derive(Debug, Clone, Copy)]
pub struct ListJobs<'a> {
    /// Only jobs in this state.
    pub state: Option<JobState>,
    /// Only jobs whose latest attempt is this agent's.
    pub agent: Option<&'a AgentId>,
    /// Only jobs with this label: its name and value.
    pub label: Option<(&'a str, &'a str)>,
    /// Where the page before ended.
    pub after: Option<&'a JobId>,
    /// How many at most, 1 to 500.
    pub limit: u32,
}

/// A page of jobs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobSummary>,
    /// The last job that was looked at, if more follow. A page looks at 2,000 jobs at most.
    pub next: Option<JobId>,
}

impl ListJobs<'_> {
    /// Runs the script, up to four times until the page is full: none of them looks at more than 500 jobs.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<JobPage, StoreError> {
        let mut page = JobPage { jobs: Vec::new(), next: self.after.cloned() };
        for _ in 0..SCRIPTS {
            let more = self
                .run_once(pool, page.next.as_ref(), self.limit - u32::try_from(page.jobs.len()).unwrap_or(self.limit))
                .await?;
            page.jobs.extend(more.jobs);
            page.next = more.next;
            if page.next.is_none() || page.jobs.len() >= self.limit as usize {
                break;
            }
        }
        Ok(page)
    }

    async fn run_once(&self, pool: &Pool, after: Option<&JobId>, limit: u32) -> Result<JobPage, StoreError> {
        let mut args = Args::new();
        args.push(self.state.map(JobState::as_str).unwrap_or_default())
            .push(self.agent.map(AgentId::as_str).unwrap_or_default())
            .push(self.label.map(|(name, value)| label_line(name, value)).unwrap_or_default())
            .push(after.map(JobId::as_str).unwrap_or_default())
            .push(limit)
            .push(pool.now());
        let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
        match word.as_str() {
            "jobs" => Ok(JobPage { next: reply.some()?, jobs: reply.rest(|r| summary(r.list()?))? }),
            other => Err(unknown_word("jobs/list", other)),
        }
    }
}

fn summary(mut r: Reply) -> Result<JobSummary, StoreError> {
    let (id, kind, state) = (r.parse()?, r.text()?, r.text()?);
    let time = |ms: Option<i64>| ms.map(Timestamp::from_ms);
    Ok(JobSummary {
        id,
        kind: JobKind::from_word(&kind).ok_or_else(|| unknown_word("jobs/list", &kind))?,
        state: JobState::from_word(&state).ok_or_else(|| unknown_word("jobs/list", &state))?,
        agent_id: r.some()?,
        attempt: r.parse()?,
        priority: r.parse()?,
        created_at: Timestamp::from_ms(r.parse()?),
        started_at: time(r.some()?),
        ended_at: time(r.some()?),
        exit_code: r.some()?,
        reason: r.some_text()?.as_deref().and_then(Reason::from_word),
        command: r.text()?,
        labels: labels_of(&r.text()?)?,
    })
}
