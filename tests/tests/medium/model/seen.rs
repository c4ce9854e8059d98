//! What the store shows, compared with what the model holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use futures_util::future::try_join_all;
use serde_json::Value;
use titan_api::{
    agents::{self, Breaker},
    events::Event,
    ids::JobId,
    jobs::{self, JobState, JobSummary},
    status::{AgentCounts, JobCounts},
    time::Timestamp,
};
use titan_lua::{
    Pool, StoreError,
    agents::ListAgents,
    events::{ReadEvents, ReadOutcome},
    jobs::{GetJob, ListJobs},
    pool::ReadStatus,
};

use super::state::{Agent, Job, Model, Name};

/// Everything that can be read.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) agents: Vec<agents::Agent>,
    pub(super) summaries: BTreeMap<String, JobSummary>,
    /// Jobs in full: those that changed with the last call.
    pub(super) changed: Vec<jobs::Job>,
    pub(super) agent_counts: AgentCounts,
    pub(super) job_counts: JobCounts,
    /// Until when those of them wait that wait for a time.
    pub(super) begins: BTreeMap<String, i64>,
    /// What the last call has told listeners, in some order.
    pub(super) told: Vec<String>,
    /// The number of the last event.
    last_event: u64,
}

impl Seen {
    /// Reads it. A job is read in full if its summary is another than `before`, or if a call named it.
    pub(super) async fn read(pool: &Pool, before: &Self, named: &[JobId]) -> Result<Self, StoreError> {
        let agents = ListAgents { after: None, limit: 500 };
        let page = ListJobs { state: None, agent: None, label: None, after: None, limit: 500 };
        let events = ReadEvents { after: Some(before.last_event), prefix: "" };
        let (agents, page, status, events) =
            tokio::try_join!(agents.run(pool), page.run(pool), ReadStatus.run(pool), events.run(pool))?;
        let ReadOutcome::Events(events) = events else { panic!("events were lost: {events:?}") };
        assert!(!events.more, "more events than are read at once");
        let summaries: BTreeMap<_, _> = page.jobs.into_iter().map(|j| (j.id.to_string(), j)).collect();
        let is_news =
            |(id, now): &(&String, &JobSummary)| before.summaries.get(*id) != Some(now) || named.contains(&now.id);
        let news = summaries.iter().filter(is_news).map(|(_, job)| GetJob { job: &job.id });
        let reading: Vec<_> = news.collect();
        let changed = try_join_all(reading.iter().map(|get| get.run(pool))).await?.into_iter().flatten();
        let changed: Vec<jobs::Job> = changed.collect();
        let begins = changed.iter().filter_map(|job| Some((job.id.to_string(), job.not_before?.as_ms()))).collect();
        let told = events.events.iter().map(told).collect();
        let last_event = events.next_after;
        Ok(Self { agents, summaries, changed, begins, agent_counts: status.0, job_counts: status.1, told, last_event })
    }
}

/// An event in the words of the model.
fn told(event: &Event) -> String {
    let of = |field: &str| match &event.payload[field] {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let (topic, agent) = (&event.topic, of("agent_id"));
    match topic.as_str().split('.').next() {
        Some("breaker") => {
            let (from, epoch, cause, failures) = (of("from"), of("epoch"), of("cause"), of("failures"));
            format!("{topic} {agent} was {from} epoch {epoch} by {cause} after {failures}")
        }
        Some("job") => format!("{topic} {} attempt {} by {}", of("job_id"), of("attempt"), of("reason")),
        _ => format!("{topic} {agent}"),
    }
}

/// Collects what differs.
#[derive(Debug, Default)]
struct Differences(Vec<String>);

impl Differences {
    fn compare<T: PartialEq + Debug>(&mut self, what: impl Fn() -> String, model: &T, store: &T) {
        if model != store {
            self.0.push(format!("{}: {model:?} by the rules, {store:?} in the store", what()));
        }
    }
}

impl Model {
    /// What the store shows otherwise than the model; nothing if they agree.
    pub(super) fn differences(&self, seen: &Seen) -> Vec<String> {
        let mut d = Differences::default();
        let ids = |ids: &mut dyn Iterator<Item = &String>| ids.cloned().collect::<Vec<_>>();
        d.compare(|| "jobs".into(), &ids(&mut self.jobs.keys()), &ids(&mut seen.summaries.keys()));
        let names: Vec<Name> = seen.agents.iter().map(|a| a.id.to_string()).collect();
        d.compare(|| "agents".into(), &ids(&mut self.agents.keys()), &names);
        for (id, job) in &self.jobs {
            if let Some(summary) = seen.summaries.get(id) {
                compare_summary(&mut d, id, job, summary);
            }
        }
        for full in &seen.changed {
            if let Some(job) = self.jobs.get(full.id.as_str()) {
                compare_job(&mut d, job, full);
            }
        }
        for real in &seen.agents {
            if let Some(agent) = self.agents.get(real.id.as_str()) {
                self.compare_agent(&mut d, agent, real);
            }
        }
        let in_order = |told: &[String]| told.iter().cloned().collect::<BTreeSet<_>>();
        d.compare(
            || "events".into(),
            &(self.told.len(), in_order(&self.told)),
            &(seen.told.len(), in_order(&seen.told)),
        );
        d.compare(|| "counts of jobs".into(), &self.job_counts(), &seen.job_counts);
        d.compare(|| "counts of agents".into(), &self.agent_counts(), &seen.agent_counts);
        d.0
    }

    fn compare_agent(&self, d: &mut Differences, agent: &Agent, real: &agents::Agent) {
        let of = |what: &str| format!("agent {}: {what}", real.id);
        d.compare(|| of("state"), &agent.state, &real.state);
        let health = &agent.health;
        let breaker = Breaker {
            epoch: health.edge,
            cause: health.cause,
            failures: health.fails,
            cool_down_until: health.until_ms.map(Timestamp::from_ms),
            trial_job_id: health.trial.as_ref().map(|id| JobId::new(id.clone()).unwrap()),
            guarded: health.guarded,
        };
        d.compare(|| of("breaker"), &breaker, &real.breaker);
        d.compare(|| of("draining"), &(agent.draining || agent.leaving), &real.draining);
        d.compare(|| of("leaving"), &agent.leaving, &real.leaving);
        d.compare(|| of("live attempts"), &agent.live.len(), &(real.live_attempts as usize));
        d.compare(|| of("free memory"), &agent.ram_left(), &real.ram_free_mb.cast_signed());
        let gpus: Vec<_> = agent.facts.gpus.iter().map(|g| (g.uuid.clone(), agent.vram_left(&g.uuid))).collect();
        let really: Vec<_> = real.gpus.iter().map(|g| (g.uuid.clone(), g.vram_free_mb.cast_signed())).collect();
        d.compare(|| of("free GPU memory"), &gpus, &really);
        d.compare(|| of("last seen"), &agent.seen_ms, &real.last_seen_at.as_ms());
        d.compare(|| of("held for"), &agent.held.as_deref(), &real.held_for.as_ref().map(JobId::as_str));
        d.compare(|| of("round-trip time"), &agent.rtt_ms, &real.rtt_ms);
        let score = agent.score(0, &self.weights);
        if (score - real.score).abs() > 1e-3 {
            d.compare(|| of("score"), &score, &real.score);
        }
    }

    fn job_counts(&self) -> JobCounts {
        let count = |is: fn(JobState) -> bool| self.jobs.values().filter(|j| is(j.state)).count() as u64;
        JobCounts {
            blocked: count(|s| s == JobState::Blocked),
            delayed: count(|s| s == JobState::Delayed),
            pending: count(|s| s == JobState::Pending),
            scheduled: count(|s| s == JobState::Scheduled),
            running: count(|s| s == JobState::Running),
            ended: count(JobState::is_ended),
        }
    }

    fn agent_counts(&self) -> AgentCounts {
        let count = |state| self.agents.values().filter(|a| a.state == state).count() as u64;
        AgentCounts {
            total: self.agents.len() as u64,
            healthy: count(agents::AgentState::Healthy),
            degraded: count(agents::AgentState::Degraded),
            half_open: count(agents::AgentState::HalfOpen),
            offline: count(agents::AgentState::Offline),
            draining: self.agents.values().filter(|a| a.draining).count() as u64,
            guarded: self.agents.values().filter(|a| a.health.guarded).count() as u64,
        }
    }
}

fn compare_summary(d: &mut Differences, id: &str, job: &Job, seen: &JobSummary) {
    let of = |what: &str| format!("{id}: {what}");
    d.compare(|| of("state"), &job.state, &seen.state);
    d.compare(|| of("agent"), &job.agent.as_deref(), &seen.agent_id.as_ref().map(titan_api::ids::AgentId::as_str));
    d.compare(|| of("attempt"), &job.attempt, &seen.attempt);
    d.compare(|| of("created"), &job.created_ms, &seen.created_at.as_ms());
    d.compare(|| of("started"), &job.started_ms, &seen.started_at.map(Timestamp::as_ms));
    d.compare(|| of("ended"), &job.ended_ms, &seen.ended_at.map(Timestamp::as_ms));
    d.compare(|| of("exit code"), &job.outcome.exit_code, &seen.exit_code);
    d.compare(|| of("reason"), &job.outcome.reason, &seen.reason);
}

fn compare_job(d: &mut Differences, job: &Job, seen: &jobs::Job) {
    let of = |what: &str| format!("{}: {what}", seen.id);
    d.compare(|| of("cancelling"), &job.cancelling, &seen.cancelling);
    d.compare(|| of("time to begin"), &job.not_before_ms, &seen.not_before.map(Timestamp::as_ms));
    d.compare(|| of("dependencies"), &job.spec.depends_on, &seen.depends_on);
    d.compare(|| of("jobs to wait for"), &job.needs, &seen.waits_for);
    d.compare(|| of("devices"), &job.devices, &seen.devices);
    d.compare(|| of("output"), &job.written, &seen.output_bytes);
    d.compare(|| of("signal"), &job.outcome.signal, &seen.signal);
    d.compare(|| of("message"), &job.outcome.message, &seen.message);
    let failures: Vec<_> =
        job.failures.iter().map(|f| (f.attempt, f.agent.as_str(), f.at_ms, f.outcome.reason)).collect();
    let really: Vec<_> =
        seen.failures.iter().map(|f| (f.attempt, f.agent_id.as_str(), f.at.as_ms(), Some(f.reason))).collect();
    d.compare(|| of("failures"), &failures, &really);
}
