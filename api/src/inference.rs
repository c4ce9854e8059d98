//! Inference: one request to a model, in the words of OpenAI's interface, relayed to an agent's backend.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    agents::Model,
    ids::{AgentId, JobId, LeaseId},
    scheduler::Explanation,
    secret::Secret,
    time::Timestamp,
};

/// Which of OpenAI's routes a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InferenceRoute {
    /// `/v1/chat/completions`
    ChatCompletions,
    /// `/v1/completions`
    Completions,
    /// `/v1/embeddings`
    Embeddings,
    /// `/v1/responses`
    Responses,
    /// `/api/pull` of Ollama: gets a model onto the box. `POST /api/v1/models/pull` makes such requests, and nobody else.
    Pull,
}

impl InferenceRoute {
    /// All routes of OpenAI's.
    pub const ALL: [Self; 4] = [Self::ChatCompletions, Self::Completions, Self::Embeddings, Self::Responses];

    /// The path at the coordinator, and at every backend that speaks OpenAI's interface.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
            Self::Responses => "/v1/responses",
            Self::Pull => "/api/pull",
        }
    }
}

/// How long a backend may take to its first byte, if a request does not say, milliseconds.
pub const FIRST_TOKEN_MS: u64 = 120_000;
/// The same for an answer that is not streamed, whose first byte comes when all of it was made.
pub const ANSWER_MS: u64 = 600_000;
/// How long it may be silent after that, milliseconds.
pub const TOKEN_MS: u64 = 60_000;
/// How long a model may take to load, milliseconds.
pub const LOAD_MS: u64 = 300_000;

/// What an agent has to ask its backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InferenceSpec {
    /// The public name of the model, as agents register it.
    pub model: String,
    /// The route.
    pub route: InferenceRoute,
    /// The body as the client sent it: the text of a JSON object. The agent changes nothing of it but `model`, which
    /// becomes the backend's own name; what it does not know passes through to the letter.
    pub body: String,
    /// Whether the answer comes as server-sent events.
    #[serde(default)]
    pub stream: bool,
    /// Go on with the text of an assistant's message that stands last in the body, instead of answering it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
    /// How long the backend may take until its first byte, milliseconds, once the model is loaded. Of an answer that is not
    /// streamed the first byte comes with the last, so that this is for all of it.
    pub first_token_timeout_ms: u64,
    /// How long it may be silent after that, milliseconds.
    pub token_timeout_ms: u64,
    /// How long loading the model may take, milliseconds.
    pub load_timeout_ms: u64,
}

impl InferenceSpec {
    /// The same without what is asked.
    #[must_use]
    pub fn without_body(&self) -> Self {
        Self { body: String::new(), model: self.model.clone(), ..*self }
    }
}

/// What a request took, as the agent measured it and the backend told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Tokens of the prompt, where the backend tells them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// Tokens of the answer: those that the backend tells, else the number of events that had text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_tokens: Option<u64>,
    /// From when the backend was asked to its first byte of an answer, milliseconds, without loading the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<u64>,
    /// From that byte to the last, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation_ms: Option<u64>,
    /// How long the model took to load, milliseconds, if it was loaded for this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_ms: Option<u64>,
}

/// How fast an agent was with a model, smoothed over its latest requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelSpeed {
    /// The model's public name.
    pub model: String,
    /// Tokens a second, after the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// Milliseconds to the first token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<f64>,
    /// Failures of its backend in a row.
    #[serde(default)]
    pub failures: u32,
    /// Until when it gets no requests, after too many of them; a time that has passed means that one request tries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cool_down_until: Option<Timestamp>,
}

/// One model of the fleet, with those that serve it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FleetModel {
    /// What the agents say of it; of several, the one with most `parallel`.
    #[serde(flatten)]
    pub model: Model,
    /// The kinds of all backends that serve it, by name.
    #[serde(default)]
    pub backends: Vec<String>,
    /// How many agents serve it and can be given work.
    pub agents: u32,
    /// How many of them have it loaded.
    pub loaded_on: u32,
    /// Since when the one that registered first is there.
    pub since: Timestamp,
}

/// The reply to `GET /api/v1/models`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FleetModels {
    /// Every model that an agent in service has, by name.
    pub models: Vec<FleetModel>,
}

/// The reply to `GET`, and the body of and reply to `PUT /api/v1/models/aliases`: all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"aliases": {"chat": ["llama3.1:8b", "meta-llama/Llama-3.1-8B-Instruct"]}}))]
#[serde(deny_unknown_fields)]
pub struct ModelAliases {
    /// Public names, each with the names that agents have for the model.
    pub aliases: BTreeMap<String, Vec<String>>,
}

/// The reply to `GET /api/v1/usage`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct KeyUsage {
    /// What the calling key has had of each model.
    pub models: Vec<ModelUsage>,
}

/// What an API key has had of one model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct ModelUsage {
    /// The name by which it asked; empty for all together that came after very many.
    pub model: String,
    /// Requests that were answered to the end.
    pub requests: u64,
    /// Tokens of their prompts.
    pub prompt_tokens: u64,
    /// Tokens of their answers.
    pub completion_tokens: u64,
}

/// The body of `POST /api/v1/inference/request`: what a client means to ask, and of which model. More fields may stand in
/// it, such as `prompt`; nothing is done with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"client_id": "me", "model": "llama3.1:8b"}))]
pub struct RequestInference {
    /// Who asks, in the client's own words; it goes into the ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The model.
    pub model: String,
    /// The conversation that it belongs to: the agent that has it warm goes before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// How to reach a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InferenceMode {
    /// Call the agent at `endpoint` with the ticket as bearer.
    Direct,
    /// Call the coordinator at `endpoint` with the API key as bearer.
    Relay,
}

/// The reply to `POST /api/v1/inference/request`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RoutedInference {
    /// The request's id, which the ticket carries; the id of its job.
    pub request_id: String,
    /// Where to go.
    pub mode: InferenceMode,
    /// The best agent, if one has room now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// The URL to add `/v1/chat/completions` and the like to.
    pub endpoint: String,
    /// The ticket (a JWT, RS256), for one request to that model on that agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// Until when the ticket is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Until when a place is kept for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<Timestamp>,
    /// The agent's score, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// How the agent was chosen, with `?explain=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

/// The reply to `POST /api/v1/agents/{id}/tickets/{request_id}/use`: the ticket is an attempt from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsedTicket {
    /// The number of the attempt.
    pub attempt: u32,
    /// The lease, to be renewed by heartbeats and named in reports.
    pub lease_id: LeaseId,
    /// How long it lasts unless it is renewed, milliseconds from when the call was sent.
    pub lease_ttl_ms: u64,
    /// The agent's own name of the model, which the client may know by another.
    #[serde(default)]
    pub model: String,
}

/// What a receipt says: the claims of a JWT of type `titan-receipt+jwt`, signed (EdDSA) with the key that the agent has
/// joined with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The agent.
    pub iss: AgentId,
    /// The request.
    pub sub: JobId,
    /// The model, by the name that the client asked for.
    pub model: String,
    /// When it was signed, seconds since the epoch.
    pub iat: i64,
    /// What the answer took.
    pub usage: Usage,
}

impl Receipt {
    /// The `typ` of its header.
    pub const TYP: &str = "titan-receipt+jwt";
}

/// The reply to `POST /api/v1/jobs/{id}/attempts/{number}/stream`, once the upload has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StreamedOutput {
    /// Where the output ends: all before that is kept.
    pub accepted_offset: u64,
}
