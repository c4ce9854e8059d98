//! `POST /api/v1/events`: publishes an event.

use http::StatusCode;
use titan_api::{
    events::{PublishEvent, PublishedEvent},
    limits,
};
use titan_lua::events::{Publish, PublishOutcome};

use crate::{
    auth::callers::{EventsWrite, KeyCaller},
    error::ApiError,
    extract::ApiJson,
    idempotency::{GivenKey, KeyOfCall},
    reply::Json,
};

/// Publishes an event, which is kept for a day, or until ten thousand others have come.
#[utoipa::path(
    post,
    path = "/api/v1/events",
    operation_id = "publish_event",
    tag = "clients",
    request_body = PublishEvent,
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key and body again give the same event, while that is kept")),
    security(("api_key" = ["events:write"]), ("admin" = [])),
    responses((status = 201, description = "Published", body = PublishedEvent))
)]
pub(crate) async fn handler(
    caller: KeyCaller<EventsWrite>,
    given: GivenKey,
    ApiJson(event): ApiJson<PublishEvent>,
) -> Result<(StatusCode, Json<PublishedEvent>), ApiError> {
    if event.is_reserved() {
        return Err(ApiError::Forbidden(
            "topics that begin with `agent.`, `job.` or `breaker.` are the pool's own".into(),
        ));
    }
    let payload = event.payload.to_string();
    if payload.len() > limits::EVENT_BYTES {
        let detail = format!("has {} bytes without spaces, and may have {}", payload.len(), limits::EVENT_BYTES);
        return Err(ApiError::field("/payload", detail));
    }
    let key = given.with(&caller.owner, &event)?;
    let publish = Publish { topic: &event.topic, payload: &payload, idempotency: key.as_ref().map(KeyOfCall::of_call) };
    let outcome = publish.run(&caller.pool).await.map_err(|e| ApiError::unsure(e, || advice(key.is_some())))?;
    match outcome {
        PublishOutcome::Published(id) => Ok((StatusCode::CREATED, Json(PublishedEvent { id }))),
        PublishOutcome::Reused => Err(ApiError::KeyReused),
    }
}

fn advice(has_key: bool) -> String {
    let then = if has_key {
        "repeat the call with the same Idempotency-Key"
    } else {
        "a repeat may publish it twice; an Idempotency-Key prevents that"
    };
    format!("the event may have been published: {then}")
}
