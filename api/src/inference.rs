//! Inference: one request to a model, in the words of OpenAI's interface, relayed to an agent's backend.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::agents::Model;

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
}

impl InferenceRoute {
    /// All routes.
    pub const ALL: [Self; 4] = [Self::ChatCompletions, Self::Completions, Self::Embeddings, Self::Responses];

    /// The path at the coordinator, and at every backend that speaks OpenAI's interface.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
            Self::Responses => "/v1/responses",
        }
    }
}

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
    /// How long the backend may take until its first byte, milliseconds, once the model is loaded.
    pub first_token_timeout_ms: u64,
    /// How long it may be silent after that, milliseconds.
    pub token_timeout_ms: u64,
    /// How long loading the model may take, milliseconds.
    pub load_timeout_ms: u64,
}

/// What a request took, as the agent measured it and the backend told it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
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
    pub tokens_per_second: f64,
    /// Milliseconds to the first token.
    pub first_token_ms: f64,
}

/// One model of the fleet, with those that serve it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FleetModel {
    /// What the agents say of it; of several, the one with most `parallel`.
    #[serde(flatten)]
    pub model: Model,
    /// How many agents serve it and can be given work.
    pub agents: u32,
    /// How many of them have it loaded.
    pub loaded: u32,
}
