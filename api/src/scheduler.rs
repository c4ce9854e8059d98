//! How an agent is chosen: weights, scores, and the explanation of a choice.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::AgentId;

/// How much each part of the score counts; none is negative and they sum to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// Free memory of the best device.
    pub vram: f64,
    /// Free slots.
    pub load: f64,
    /// Closeness, by round-trip time.
    pub rtt: f64,
    /// Speed; counts the same for every agent until it is measured.
    pub performance: f64,
    /// What an hour of the box costs; 0 in the named profiles.
    #[serde(default)]
    pub cost: f64,
}

/// A named set of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// 0.40 memory, 0.30 load, 0.20 round-trip time, 0.10 performance.
    #[default]
    Balanced,
    /// 0.60, 0.20, 0.15, 0.05: for work that is bound by memory.
    Memory,
    /// 0.30, 0.20, 0.40, 0.10: for work that waits for answers.
    Latency,
    /// Weights of one's own.
    Custom,
}

impl Profile {
    /// The weights of a named profile; none for `custom`.
    #[must_use]
    pub fn weights(self) -> Option<Weights> {
        let (vram, load, rtt, performance) = match self {
            Self::Balanced => (0.40, 0.30, 0.20, 0.10),
            Self::Memory => (0.60, 0.20, 0.15, 0.05),
            Self::Latency => (0.30, 0.20, 0.40, 0.10),
            Self::Custom => return None,
        };
        Some(Weights { vram, load, rtt, performance, cost: 0.0 })
    }

    /// The word used in JSON and in Redis.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::Memory => "memory",
            Self::Latency => "latency",
            Self::Custom => "custom",
        }
    }

    /// The profile of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Balanced, Self::Memory, Self::Latency, Self::Custom].into_iter().find(|p| p.as_str() == word)
    }
}

/// What decides between agents that have room for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The best score; of equals the agent used least recently.
    #[default]
    Score,
    /// The agent used least recently, a degraded one only if no other has room.
    RoundRobin,
}

impl Strategy {
    /// The word used in JSON and in Redis.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::RoundRobin => "round_robin",
        }
    }

    /// The strategy of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Score, Self::RoundRobin].into_iter().find(|s| s.as_str() == word)
    }
}

/// The reply to `GET` and `PUT /api/v1/scheduler`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Scheduler {
    /// The profile in use.
    pub profile: Profile,
    /// What decides.
    #[serde(default)]
    pub strategy: Strategy,
    /// Its weights.
    pub weights: Weights,
    /// Rises with every change; agents are then scored anew within seconds.
    pub version: u64,
}

/// The body of `PUT /api/v1/scheduler`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"profile": "latency"}))]
#[serde(deny_unknown_fields)]
pub struct SetScheduler {
    /// The profile to use.
    pub profile: Profile,
    /// Needed for `custom`, refused for every other profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Weights>,
    /// What decides; `score` by default.
    #[serde(default)]
    pub strategy: Strategy,
}

/// The parts of a score, each from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScoreParts {
    /// Effective free memory of the best device over its total (main memory where the job needs no GPU).
    pub vram: f64,
    /// 1 − live attempts ÷ slots.
    pub load: f64,
    /// 1 ÷ (1 + round-trip milliseconds ÷ 50).
    pub rtt: f64,
    /// For a model: tokens a second ÷ (tokens a second + 100), smoothed over the agent's latest answers of it; 0.5 before
    /// there are any, and for processes.
    pub performance: f64,
    /// 1 ÷ (1 + the box's price an hour); 1 where no price is told.
    #[serde(default)]
    pub cost: f64,
    /// For a model: 1 if the agent has it loaded. It makes up a tenth of the score, the weighted other parts the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm: Option<f64>,
}

/// An agent that could take the job, with its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Candidate {
    /// The agent.
    pub agent_id: AgentId,
    /// Weighted sum of the parts, halved if the agent is degraded.
    pub score: f64,
    /// The parts.
    pub parts: ScoreParts,
    /// Whether the score was halved.
    pub degraded: bool,
}

/// How many agents a requirement rules out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuledOut {
    /// Why: `kind`, `labels`, `gpus`, `vram`, `ram`, `cpus`, `model` (never), `refused` (by that box's policy), or
    /// `offline`, `half_open`, `draining`, `slots`, `vram_free`, `gpus_free` (it wants GPUs to itself), `ram_free`,
    /// `cpus_free`, `cooling` (the model's backend there failed of late), `held` (for a job that was passed over),
    /// `hindered` (something on the box keeps it from asking for such work), `not_waiting` (not now).
    pub reason: String,
    /// How many agents.
    pub agents: u64,
}

/// How an agent was chosen for a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The weights that were used.
    pub weights: Weights,
    /// Agents that could take the job, best first: the first was chosen, unless a half-open agent waited for a trial, which
    /// goes first however it scores. At most 5.
    pub candidates: Vec<Candidate>,
    /// Why the others could not, most agents first.
    pub ruled_out: Vec<RuledOut>,
    /// How many agents were looked at for `ruled_out`, at most 200.
    pub examined: u64,
    /// The agent that had the conversation last to which the request belongs. It is chosen instead of the first if it is
    /// healthy and has room, and its score is at most 0.15 lower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_agent: Option<AgentId>,
}

impl Explanation {
    /// The same for those who may not see agents: candidates are named by their ids.
    #[must_use]
    pub fn without_agents(self) -> Self {
        Self { candidates: Vec::new(), session_agent: None, ..self }
    }
}
