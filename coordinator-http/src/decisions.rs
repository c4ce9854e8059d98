//! The log's lines of who does what: one for each decision, one for each candidate at debug, one for each job that is handed out.

use titan_api::{
    ids::{AgentId, JobId},
    jobs::JobState,
    scheduler::{Explanation, ScoreParts},
    work::Lease,
};
use titan_lua::jobs::Submitted;

/// Where they come from; `LOG_LEVEL=info,scheduler=debug` shows every candidate.
const SCHEDULER: &str = "scheduler";

/// Whether the parts of scores are to be asked for. They cost Redis time, so only at debug.
pub(crate) fn wants_parts() -> bool {
    tracing::enabled!(target: SCHEDULER, tracing::Level::DEBUG)
}

/// What became of an accepted job.
pub(crate) fn submitted(job: &Submitted, explanation: Option<&Explanation>) {
    if let Some(agent) = &job.agent {
        return selected(&job.id, agent, job.score, explanation);
    }
    let waits = if job.state == JobState::Pending { "no agent is at hand: the job waits" } else { "the job waits" };
    tracing::info!(target: SCHEDULER, component = "scheduler", job.id = %job.id, state = %job.state, "{waits}");
}

/// An agent was chosen.
pub(crate) fn selected(job: &JobId, agent: &AgentId, score: f64, explanation: Option<&Explanation>) {
    let candidates = explanation.iter().flat_map(|e| &e.candidates);
    let parts = candidates.clone().find(|candidate| candidate.agent_id == *agent).map(|chosen| chosen.parts);
    let part = |of: fn(ScoreParts) -> f64| parts.map(of);
    tracing::info!(
        target: SCHEDULER,
        component = "scheduler",
        job.id = %job,
        agent.id = %agent,
        score,
        vram = part(|p| p.vram),
        load = part(|p| p.load),
        rtt = part(|p| p.rtt),
        performance = part(|p| p.performance),
        cost = part(|p| p.cost),
        warm = parts.and_then(|p| p.warm),
        "MCDA agent selected"
    );
    for candidate in candidates {
        tracing::debug!(
            target: SCHEDULER,
            component = "scheduler",
            job.id = %job,
            agent.id = %candidate.agent_id,
            score = candidate.score,
            vram = candidate.parts.vram,
            load = candidate.parts.load,
            rtt = candidate.parts.rtt,
            performance = candidate.parts.performance,
            cost = candidate.parts.cost,
            warm = candidate.parts.warm,
            degraded = candidate.degraded,
            "agent scoring"
        );
    }
}

/// There is no ticket for a request: the best agent cannot be called by clients, or none has room.
pub(crate) fn no_ticket(request: &JobId, best: Option<&(AgentId, f64)>) {
    tracing::info!(
        target: SCHEDULER,
        component = "scheduler",
        job.id = %request,
        agent.id = best.map(|(agent, _)| agent.as_str()),
        score = best.map(|(_, score)| score),
        "no ticket: the request has to go through a coordinator"
    );
}

/// Jobs begin an attempt at an agent, whenever that was chosen.
pub(crate) fn handed_out(agent: &AgentId, leases: &[Lease]) {
    for lease in leases {
        tracing::info!(
            target: SCHEDULER,
            component = "scheduler",
            job.id = %lease.job_id,
            agent.id = %agent,
            attempt = lease.attempt,
            "job handed out"
        );
    }
}
