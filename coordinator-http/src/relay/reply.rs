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
use tokio::time::Instant;

use super::{
    following::Ending,
    request::{First, Relayed, refusal},
    sse::begins_events,
    streaming::{Going, Streaming},
};
use crate::{
    error::ApiError,
    notes,
    server::{Budget, Part},
    state::AppState,
};

/// How long a stream waits for its first byte before it begins without: until then a failure has a status of its own.
const COMMIT_AFTER: Duration = Duration::from_secs(10);

/// Waits for the whole answer.
pub(crate) async fn whole(state: &AppState, owner: &str, mut relayed: Relayed) -> Result<Response, ApiError> {
    let first = relayed.first(None).await?;
    gathered(state, owner, relayed, first).await
}

/// Streams the answer as it comes; a request that is refused before it has begun gets a reply of its own.
pub(crate) async fn streamed(state: &AppState, mut relayed: Relayed, going: Going) -> Result<Response, ApiError> {
    let first = relayed.first(Some(Instant::now() + COMMIT_AFTER)).await?;
    let begun = match first {
        First::Bytes(bytes) if begins_events(&bytes) => bytes,
        First::Nothing => Bytes::new(),
        other => return gathered(state, &going.owner, relayed, other).await,
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
    answer: Answer,
    ending: Ending,
}

/// Bytes of an answer, with their part of the memory for answers, which they have until the last was sent.
#[derive(Default)]
struct Answer {
    bytes: BytesMut,
    memory: Option<Part>,
}

impl Answer {
    fn add(&mut self, bytes: &[u8], owner: &str, budget: &Budget) -> Result<(), ApiError> {
        if self.bytes.len() + bytes.len() > limits::ANSWER_BYTES {
            return Err(ApiError::BackendFailed("the answer is too long".to_owned()));
        }
        let memory = budget.take(owner, bytes.len())?;
        match &mut self.memory {
            Some(taken) => taken.merge(memory),
            none => *none = Some(memory),
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

async fn gathered(state: &AppState, owner: &str, mut relayed: Relayed, first: First) -> Result<Response, ApiError> {
    let whole = gather(state, owner, &mut relayed, first).await?;
    if let Some(load_ms) = whole.ending.usage.and_then(|usage| usage.load_ms) {
        notes::note(|notes| notes.timings.push(("load", Duration::from_millis(load_ms))));
    }
    relayed.tell_who();
    let is_rejected = whole.ending.reason == Some(Reason::BackendRejected);
    if whole.ending.state == JobState::Completed {
        if whole.answer.bytes.is_empty() {
            return Err(ApiError::Conflict("the answer to this Idempotency-Key is not kept any more".to_owned()));
        }
        return Ok(json(StatusCode::OK, whole.answer));
    }
    if is_rejected { rejected(whole) } else { Err(refusal(&whole.ending)) }
}

async fn gather(state: &AppState, owner: &str, relayed: &mut Relayed, first: First) -> Result<Whole, ApiError> {
    let (mut answer, mut next) = (Answer::default(), first);
    loop {
        match next {
            First::Bytes(more) => answer.add(&more, owner, &state.answers)?,
            First::Ended(ending) => return Ok(Whole { answer, ending }),
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
    let is_document = serde_json::from_slice::<Value>(&whole.answer.bytes).is_ok_and(|value| value.is_object());
    match status {
        Some(status) if is_document => Ok(json(status, whole.answer)),
        _ => {
            let text = String::from_utf8_lossy(&whole.answer.bytes);
            let text: String = text.chars().filter(|c| !c.is_control()).take(limits::TEXT_BYTES).collect();
            Err(ApiError::BadRequest(format!("the model's backend refused the request: {text}")))
        }
    }
}

fn json(status: StatusCode, answer: Answer) -> Response {
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    // What a backend calls an answer and is none must not pass for one.
    if serde_json::from_slice::<&RawValue>(&answer.bytes).is_err() {
        return ApiError::BackendFailed("the model's backend answered with something that is no JSON".to_owned())
            .into_response();
    }
    (status, headers, Body::from(Bytes::from_owner(answer))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_its_part_of_the_memory_until_it_is_sent() {
        let budget = Budget::new(10, 10, "tests run");
        let mut answer = Answer::default();
        answer.add(b"{\"a\":", "a", &budget).unwrap();
        answer.add(b"1}", "a", &budget).unwrap();
        assert!(answer.add(b"and more", "a", &budget).is_err());
        let reply = json(StatusCode::OK, answer);
        assert!(budget.take("b", 4).is_err(), "the reply has 7 of 10 bytes");
        drop(reply);
        assert!(budget.take("b", 10).is_ok());
    }
}
