//! What speaks OpenAI's words, under `/v1`: requests to models, and which models there are.

pub(super) mod chat_completions;
pub(super) mod completions;
pub(super) mod embeddings;
pub(super) mod get_model;
pub(super) mod list_models;
pub(super) mod responses;

use utoipa::IntoParams;

/// What a request to a model may say in its headers.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes headers, which are read elsewhere")]
pub(super) struct RelayHeaders {
    /// How long to wait for an agent that can answer, milliseconds; 60,000 by default. After that 503.
    #[param(rename = "X-Titan-Deadline-Ms")]
    deadline_ms: Option<u64>,
    /// How long the backend may take to its first byte, milliseconds, without loading the model; 120,000 by default.
    #[param(rename = "X-Titan-First-Token-Ms")]
    first_token_ms: Option<u64>,
    /// How long it may be silent after that, milliseconds; 60,000 by default.
    #[param(rename = "X-Titan-Token-Ms")]
    token_ms: Option<u64>,
    /// How long an answer that is not streamed may take, milliseconds, without loading the model; 600,000 by default, or what
    /// X-Titan-First-Token-Ms says.
    #[param(rename = "X-Titan-Answer-Ms")]
    answer_ms: Option<u64>,
    /// The conversation that the request belongs to; by default what the body's `user` says.
    #[param(rename = "X-Titan-Session")]
    session: Option<String>,
    /// `continue`: if an agent breaks off in the middle of a streamed chat, another one goes on.
    #[param(rename = "X-Titan-Failover")]
    failover: Option<String>,
    /// The same key and body again get the same answer, for a minute after its end. The request then goes on if its
    /// client goes away.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
}
