//! The reply to a request: a whole answer, or one that is streamed as it comes.

use std::time::Duration;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, value::RawValue};
use titan_api::{
    jobs::{JobState, Reason},
    limits,
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    following::Ending,
    request::{First, Relayed, refusal},
    sse::begins_events,
    streaming::{Going, Streaming},
};
use crate::{error::ApiError, notes, state::AppState};

/// How long a stream waits for its first byte before it begins without: until then a failure has a status of its own.
const COMMIT_AFTER: Duration = Duration::from_secs(10);

/// Waits for the whole answer.
pub(crate) async fn whole(state: &AppState, mut relayed: Relayed) -> Result<Response, ApiError> {
    let first = relayed.first(None).await?;
    gathered(state, relayed, first).await
}

/// Streams the answer as it comes; a request that is refused before it has begun gets a reply of its own.
pub(crate) async fn streamed(state: &AppState, mut relayed: Relayed, going: Going) -> Result<Response, ApiError> {
    let first = relayed.first(Some(Instant::now() + COMMIT_AFTER)).await?;
    let begun = match first {
        First::Bytes(bytes) if begins_events(&bytes) => bytes,
        First::Nothing => Bytes::new(),
        other => return gathered(state, relayed, other).await,
    };
    if !begun.is_empty() {
        relayed.tell_who();
    }
    let streaming = Streaming::new(relayed, going, begun);
    let body = stream::unfold(streaming, |mut streaming| async move {
        let bytes = streaming.next().await?;
        Some((Ok::<_, std::convert::Infallible>(bytes), streaming))
    });
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// All of an answer, and how it ended.
struct Whole {
    bytes: BytesMut,
    ending: Ending,
    /// Its part of the memory for bodies.
    _memory: Vec<OwnedSemaphorePermit>,
}

async fn gathered(state: &AppState, mut relayed: Relayed, first: First) -> Result<Response, ApiError> {
    let whole = gather(state, &mut relayed, first).await?;
    if let Some(load_ms) = whole.ending.usage.and_then(|usage| usage.load_ms) {
        notes::note(|notes| notes.timings.push(("load", Duration::from_millis(load_ms))));
    }
    relayed.tell_who();
    let is_rejected = whole.ending.reason == Some(Reason::BackendRejected);
    if whole.ending.state == JobState::Completed {
        if whole.bytes.is_empty() {
            return Err(ApiError::Conflict("the answer to this Idempotency-Key is not kept any more".to_owned()));
        }
        return Ok(json(StatusCode::OK, whole.bytes.freeze()));
    }
    if is_rejected { rejected(whole) } else { Err(refusal(&whole.ending)) }
}

async fn gather(state: &AppState, relayed: &mut Relayed, first: First) -> Result<Whole, ApiError> {
    let (mut bytes, mut memory, mut next) = (BytesMut::new(), Vec::new(), first);
    loop {
        match next {
            First::Bytes(more) => {
                if bytes.len() + more.len() > limits::ANSWER_BYTES {
                    return Err(ApiError::BackendFailed("the answer is too long".to_owned()));
                }
                memory.push(state.bodies.take(more.len())?);
                bytes.extend_from_slice(&more);
            }
            First::Ended(ending) => return Ok(Whole { bytes, ending, _memory: memory }),
            First::Nothing => {}
        }
        next = relayed.first(None).await?;
    }
}

/// What the backend says is wrong with the request, if it says that in JSON.
fn rejected(whole: Whole) -> Result<Response, ApiError> {
    let told = whole.ending.exit_code.and_then(|status| u16::try_from(status).ok());
    let status = told.filter(|status| matches!(status, 400..=499 | 501 | 505));
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let is_document = serde_json::from_slice::<Value>(&whole.bytes).is_ok_and(|value| value.is_object());
    match status {
        Some(status) if is_document => Ok(json(status, whole.bytes.freeze())),
        _ => {
            let text = String::from_utf8_lossy(&whole.bytes);
            let text: String = text.chars().filter(|c| !c.is_control()).take(limits::TEXT_BYTES).collect();
            Err(ApiError::BadRequest(format!("the model's backend refused the request: {text}")))
        }
    }
}

fn json(status: StatusCode, bytes: Bytes) -> Response {
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    // What a backend calls an answer and is none must not pass for one.
    if serde_json::from_slice::<&RawValue>(&bytes).is_err() {
        return ApiError::BackendFailed("the model's backend answered with something that is no JSON".to_owned())
            .into_response();
    }
    (status, headers, Body::from(bytes)).into_response()
}
