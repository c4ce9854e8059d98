//! `GET /api/v1/events`: what happens in the pool: a page as JSON, or all of it as it comes, by SSE.

use std::sync::{Mutex, PoisonError};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::HeaderMap;
use serde::Deserialize;
use titan_api::{
    events::EventList,
    ids::EventTopic,
    time::{Since, Timestamp},
};
use titan_lua::{
    Pool,
    events::{ReadEvents, ReadOutcome},
    watch::Topic,
};
use tokio::time::{Instant, sleep_until};
use utoipa::IntoParams;

use crate::{
    auth::callers::{EventsRead, KeyCaller},
    error::ApiError,
    extract::ApiQuery,
    reply::Json,
    routes::{read_since, read_wait},
    sse::{self, events},
    state::AppState,
    waiters::{Holder, Look},
};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// What topics begin with, for example `agent.`; all without it.
    topic: Option<EventTopic>,
    /// The number of the last event that was read, `next_after` of the page before; 0 for all that are kept, and without it
    /// only what happens from now on.
    after: Option<u64>,
    /// How long to wait for an event, milliseconds, at most 20,000; 2,000 where nobody parks. Not for SSE.
    #[serde(default)]
    wait_ms: u64,
    /// Only what was published from then on, on the clock of Redis; without `after` all of that which is kept.
    since: Option<Timestamp>,
    /// The same, so many milliseconds before now.
    since_ms: Option<u64>,
}

impl EventsQuery {
    /// From when on events are wanted, milliseconds since the epoch.
    fn earliest_ms(&self, state: &AppState) -> Result<Option<i64>, ApiError> {
        let before = |ms| state.clock.now_ms().saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX));
        Ok(read_since(self.since, self.since_ms)?.map(|since| match since {
            Since::At(time) => time.as_ms(),
            Since::LastMs(ms) => before(ms),
        }))
    }
}

/// What happens in the pool: a page as JSON, or all of it as it comes, by SSE.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    operation_id = "read_events",
    tag = "clients",
    params(
        EventsQuery,
        ("Accept" = Option<String>, Header, description = "`text/event-stream` for SSE: events `event` (data: Event), and `gap` (EventGap) where some are kept no more"),
        ("Last-Event-ID" = Option<String>, Header, description = "With SSE: the number of the last event that was read")
    ),
    security(("api_key" = ["events:read"]), ("admin" = [])),
    responses((status = 200, content((EventList = "application/json"), (String = "text/event-stream"))))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: KeyCaller<EventsRead>,
    ApiQuery(query): ApiQuery<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let wait = read_wait(&state, query.wait_ms)?;
    let prefix = query.topic.as_ref().map_or("", EventTopic::as_str);
    let from_ms = query.earliest_ms(&state)?;
    let after = query.after.or(from_ms.map(|_| 0));
    if sse::is_wanted(&headers) {
        // A reader that resumes has had what came before, whatever it asked for at first.
        let resumed = events::last_event(&headers)?;
        let from_ms = from_ms.filter(|_| resumed.is_none());
        return events::follow(state, caller, prefix, resumed.or(after), from_ms).await;
    }
    let holder = Holder::Key(&caller.owner);
    let place: Place = Mutex::new((after, None));
    let look = |_| look(&caller.pool, prefix, from_ms, &place);
    let list = state.waiters.until_found(&caller.pool, holder, Topic::Events, wait, look).await?;
    Ok(Json(list).into_response())
}

/// A page of events; a refusal if some that were asked for are kept no more.
pub(crate) async fn page(pool: &Pool, prefix: &str, after: Option<u64>) -> Result<EventList, ApiError> {
    match (ReadEvents { after, prefix }).run(pool).await? {
        ReadOutcome::Events(list) => Ok(list),
        ReadOutcome::Lost { first } => Err(ApiError::EventsLost { first }),
    }
}

/// The last event that was looked at, and when.
type Place = Mutex<(Option<u64>, Option<Instant>)>;

/// Looks at what has come since the last look.
async fn look(pool: &Pool, prefix: &str, from_ms: Option<i64>, place: &Place) -> Result<Look<EventList>, ApiError> {
    let (after, looked) = *place.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(looked) = looked {
        sleep_until(looked + events::GATHER).await;
    }
    let mut list = page(pool, prefix, after).await?;
    list.events.retain(|event| from_ms.is_none_or(|from| event.at.as_ms() >= from));
    *place.lock().unwrap_or_else(PoisonError::into_inner) = (Some(list.next_after), Some(Instant::now()));
    // More to look at is for the caller to ask for: this one has cost enough.
    let found = !list.events.is_empty() || list.more;
    Ok(if found { Look::Found(list) } else { Look::Nothing(list) })
}
