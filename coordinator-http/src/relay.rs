//! The relay: a client's request in OpenAI's words becomes a job, and what the agent's backend answers is its reply, byte for
//! byte.

pub(crate) mod asked;
mod following;
pub(crate) mod live;
mod presence;
mod reply;
mod request;
mod sse;
mod streaming;

pub(crate) use self::request::{AGENT, ATTEMPT, QUEUE_ESTIMATE, QUEUE_PLACE};

use axum::response::Response;
use http::HeaderMap;
use titan_api::inference::InferenceRoute;

use self::{
    asked::{Asked, Body},
    request::{Relayed, Submission},
    streaming::Going,
};
use crate::{
    auth::callers::{Inference, KeyCaller},
    error::ApiError,
    extract::RawJson,
    idempotency::GivenKey,
    state::AppState,
};

/// The longest that a request waits for an agent, milliseconds; less where a held request costs money.
const LONGEST_MS: u64 = 30 * 60 * 1_000;
const LONGEST_WITHOUT_PARKING_MS: u64 = 25_000;

/// Relays one request.
pub(crate) async fn relay(
    state: AppState,
    caller: KeyCaller<Inference>,
    route: InferenceRoute,
    headers: &HeaderMap,
    RawJson { text, value, memory }: RawJson<Body>,
) -> Result<Response, ApiError> {
    let longest_ms = if state.pace.parking() { LONGEST_MS } else { LONGEST_WITHOUT_PARKING_MS };
    let idempotency = GivenKey::of(headers)?.with(&caller.owner, &(route, &text))?;
    let mut asked = Asked::read(route, text, value, headers, &caller.owner, longest_ms)?;
    let seat = state.waiters.relay(&caller.owner)?;
    let kept = asked.goes_on.then(|| state.prompts.take(&caller.owner, asked.body.len())).transpose()?;
    let spec = asked.job();
    let submission = Submission {
        spec: &spec,
        owner: &caller.owner,
        idempotency: idempotency.map(|key| key.of_job(0)),
        deadline_ms: asked.deadline_ms,
        session: asked.session.clone(),
        avoid: None,
    };
    let relayed = Relayed::submit(&state, &caller.pool, submission).await?;
    // It is in the store now, and the answer may take half an hour.
    drop((spec, memory));
    if !asked.stream {
        return reply::whole(&state, &caller.owner, relayed).await;
    }
    let going =
        Going { state: state.clone(), pool: caller.pool, owner: caller.owner, asked, _seat: seat, memory: kept };
    reply::streamed(&state, relayed, going).await
}
