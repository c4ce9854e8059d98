//! `/health`: that the agent lives, and how it stands with its coordinator.

use serde::{Deserialize, Serialize};

use crate::{agent::Agent, supervise::Status};

/// How the agent calls itself.
pub(super) const SERVICE: &str = "titancompute-agent";

/// The reply. Its status is always 200: an agent that cannot reach a coordinator is not helped by being restarted, and
/// one that cannot go on ends by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub(crate) struct Health {
    /// `healthy`, or `waiting` while it is not registered or its last heartbeats were not answered.
    pub status: String,
    pub service: String,
    pub version: String,
    pub agent_id: Option<String>,
    pub registered: bool,
    /// How long ago the last heartbeat that was answered was sent, milliseconds.
    pub last_heartbeat_age_ms: Option<u64>,
    pub draining: bool,
    /// Whether it is on its way out.
    pub leaving: bool,
    /// Whether the disk has room for jobs.
    pub has_room: bool,
    /// Attempts whose processes run.
    pub running: usize,
    /// What a job can be held to.
    pub enforces: Vec<String>,
    /// The backends that the agent itself has started.
    #[serde(default)]
    pub backends: Vec<Status>,
}

impl Health {
    /// That of this agent, now.
    pub(super) fn of(agent: &Agent) -> Self {
        let session = agent.link.session();
        let age_ms = agent.vitals.seen().heartbeat_age_ms();
        // Three missed ones are no accident.
        let patience_ms = agent.settings.borrow().heartbeat_interval_ms.saturating_mul(3).max(5_000);
        let is_heard = age_ms.is_some_and(|age_ms| age_ms <= patience_ms);
        Self {
            status: if session.agent_id.is_some() && is_heard { "healthy" } else { "waiting" }.to_owned(),
            service: SERVICE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            registered: session.agent_id.is_some(),
            agent_id: session.agent_id.map(|id| id.to_string()),
            last_heartbeat_age_ms: age_ms,
            draining: *agent.draining.borrow(),
            leaving: *agent.leaving.borrow(),
            has_room: agent.has_room(),
            running: agent.attempts.running(),
            enforces: agent.facts.enforces.clone(),
            backends: agent.supervise.statuses(),
        }
    }

    /// As it is sent.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
