//! `POST /v1/chat/completions`: relayed to an agent that has the model.

use axum::{extract::State, response::Response};
use http::HeaderMap;
use titan_api::inference::InferenceRoute;

use crate::{
    auth::callers::{Inference, KeyCaller},
    error::ApiError,
    extract::RawJson,
    relay::{self, asked::Body},
    state::AppState,
};

/// Answers a chat. The body is OpenAI's; what is not known of it passes to the backend as it is.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    operation_id = "chat_completions",
    tag = "inference",
    request_body(
        content = serde_json::Value,
        description = "As OpenAI has it",
        example = json!({"model": "smollm2:135m", "messages": [{"role": "user", "content": "Say hello"}], "stream": true})
    ),
    params(super::RelayHeaders),
    security(("api_key" = ["inference"]), ("admin" = [])),
    responses((status = 200, description = "What the backend answers", content((serde_json::Value = "application/json"), (String = "text/event-stream"))))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: KeyCaller<Inference>,
    headers: HeaderMap,
    body: RawJson<Body>,
) -> Result<Response, ApiError> {
    relay::relay(state, caller, InferenceRoute::ChatCompletions, &headers, body).await
}
