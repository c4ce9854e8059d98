//! `GET /api/v1/jobs/{id}/output`: what a job writes: a piece as JSON, or all of it as it comes, by SSE.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::HeaderMap;
use serde::Deserialize;
use titan_api::{
    ids::JobId,
    output::{Mark, Output},
    time::{Since, Timestamp},
};
use titan_lua::watch::Topic;
use utoipa::IntoParams;

use crate::{
    auth::callers::{JobsRead, KeyCaller},
    error::ApiError,
    extract::{ApiPath, ApiQuery},
    reply::Json,
    routes::{no_such_job, read_since, read_wait},
    sse::{
        self,
        output::{self, Place},
    },
    state::AppState,
    waiters::{Holder, Look},
};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OutputQuery {
    /// The attempt that was read before; a later one is read from its beginning.
    attempt: Option<u32>,
    /// Its mark, which tells it from another one of the same number: that is read from its beginning, too.
    #[param(value_type = Option<String>)]
    mark: Option<Mark>,
    /// From which byte on, both streams counted together: `next_offset` of the piece before.
    #[serde(default)]
    offset: u64,
    /// How long to wait for more, milliseconds, at most 20,000; 2,000 where nobody parks. Not for SSE.
    #[serde(default)]
    wait_ms: u64,
    /// Only what was accepted from then on, as far as is known: up to 15 s or 64 bytes more.
    since: Option<Timestamp>,
    /// The same, so many milliseconds before now.
    since_ms: Option<u64>,
}

/// What a job writes: a piece as JSON, or all of it as it comes, by SSE.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{id}/output",
    operation_id = "job_output",
    tag = "clients",
    params(
        ("id" = String, Path, description = "The job's id"),
        OutputQuery,
        ("Accept" = Option<String>, Header, description = "`text/event-stream` for SSE: events `output` (data: Output), `attempt` (OutputAttempt), `gap` (OutputGap) and at last `end` (OutputEnd)"),
        ("Last-Event-ID" = Option<String>, Header, description = "With SSE: the id of the last event that was read")
    ),
    security(("api_key" = ["jobs:read"]), ("admin" = [])),
    responses((status = 200, content((Output = "application/json"), (String = "text/event-stream"))))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: KeyCaller<JobsRead>,
    ApiPath(id): ApiPath<JobId>,
    ApiQuery(query): ApiQuery<OutputQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let wait = read_wait(&state, query.wait_ms)?;
    let since = read_since(query.since, query.since_ms)?;
    let asked = Place { attempt: query.attempt, offset: query.offset, mark: query.mark };
    if sse::is_wanted(&headers) {
        // A reader that resumes has had what came before, whatever it asked for at first.
        let resumed = Place::from_last_event(&headers)?;
        let (place, since) = resumed.map_or((asked, since), |place| (place, None));
        return output::follow(state, caller, id, place, since).await;
    }
    let topic = Topic::Job(id.clone());
    let look = |_| look(&caller, &id, asked, since, !wait.is_zero());
    let output = state.waiters.until_found(&caller.pool, Holder::Key(&caller.owner), topic, wait, look).await?;
    Ok(Json(output).into_response())
}

async fn look(
    caller: &KeyCaller<JobsRead>,
    id: &JobId,
    asked: Place,
    since: Option<Since>,
    follow: bool,
) -> Result<Look<Output>, ApiError> {
    let mut place = asked;
    let read = place.read(&caller.pool, id, since, follow).await?;
    let slice = read.ok_or_else(|| no_such_job(id))?;
    output::check_reader(&caller.owner, slice.about.kind, &slice.about.owner)?;
    let other_attempt = place != asked || place.attempt.is_some_and(|attempt| attempt != slice.attempt);
    let found = slice.complete || other_attempt || !slice.chunks.is_empty() || slice.skipped_bytes > 0;
    let output = output::shown(slice);
    Ok(if found { Look::Found(output) } else { Look::Nothing(output) })
}
