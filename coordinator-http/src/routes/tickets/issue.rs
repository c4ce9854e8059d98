//! `POST /api/v1/inference/request`: the way around the relay: a ticket for the best agent, if clients can reach it.

use std::{convert::Infallible, time::Duration};

use axum::extract::{FromRequestParts, State};
use http::{HeaderValue, header, request::Parts, uri::Authority};
use serde::Deserialize;
use titan_api::{
    ids::AgentId,
    inference::{InferenceMode, RequestInference, RoutedInference},
    limits,
    scheduler::Explanation,
    time::Timestamp,
};
use titan_lua::tickets::{Issue, IssueOutcome};
use utoipa::IntoParams;

use super::kept::Kept;
use crate::{
    auth::{
        callers::{Inference, KeyCaller},
        tickets::Ticket,
    },
    decisions,
    error::ApiError,
    extract::{ApiJson, ApiQuery},
    ids, notes,
    relay::asked,
    reply::Json,
    state::AppState,
    validate::{Findings, Validate},
};

/// How long a place is kept for a ticket, milliseconds.
const HOLD_MS: u64 = 15_000;
/// Unused tickets that a key may have.
const UNUSED: u32 = 16;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RequestQuery {
    /// Whether to explain the choice. Names of agents are shown to keys with `agents:read` only.
    #[serde(default)]
    explain: bool,
}

/// Chooses an agent for a request that the client brings there itself, with the ticket as bearer.
#[utoipa::path(
    post,
    path = "/api/v1/inference/request",
    operation_id = "request_inference",
    tag = "clients",
    request_body = RequestInference,
    params(RequestQuery),
    security(("api_key" = ["inference"]), ("admin" = [])),
    responses((status = 200, body = RoutedInference))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: KeyCaller<Inference>,
    ApiQuery(query): ApiQuery<RequestQuery>,
    here: Called,
    ApiJson(wish): ApiJson<RequestInference>,
) -> Result<Json<RoutedInference>, ApiError> {
    wish.validate()?;
    let id = ids::new_job_id(state.clock.now_ms())?;
    let spec = asked::job_without_body(&wish.model);
    let session = wish.user.as_deref().map(|user| asked::session(&caller.owner, &wish.model, user));
    let issue = Issue {
        id: &id,
        owner: &caller.owner,
        spec: &spec,
        session: session.as_deref(),
        hold_ms: if state.keys.has_rsa() { HOLD_MS } else { 0 },
        most: UNUSED,
        explain: query.explain || decisions::wants_parts(),
    };
    // Agents are chosen for many tickets together; few are signed at a time.
    let _turn = state.keys.turn().await;
    // The place is kept from some moment after this one on.
    let kept_until = Timestamp::from_ms(state.clock.now_ms() + i64::try_from(HOLD_MS).unwrap_or(0));
    let mut kept = Kept::new(&caller.pool, &id);
    let outcome = match issue.run(&caller.pool).await {
        Ok(outcome @ IssueOutcome::Issued(_)) => outcome,
        other => {
            kept.forget();
            other?
        }
    };
    let shown = |explanation: Option<Explanation>| {
        explanation.filter(|_| query.explain).map(|e| if caller.sees_agents { e } else { e.without_agents() })
    };
    let issued = match outcome {
        IssueOutcome::Issued(issued) => issued,
        IssueOutcome::Relay { best, explanation } => {
            decisions::no_ticket(&id, best.as_ref());
            return Ok(Json(relay(&here, id.as_str(), best, shown(explanation))));
        }
        IssueOutcome::Unserved => {
            return Err(ApiError::ModelNotFound(format!("no agent of this pool has a model {:?}", wish.model)));
        }
        IssueOutcome::TooMany(wait_ms) => return Err(too_many(wait_ms)),
    };
    decisions::selected(&id, &issued.agent, issued.score, issued.explanation.as_ref());
    notes::note(|notes| notes.request_id = Some(id.to_string()));
    let ticket = Ticket {
        agent: &issued.agent,
        client: wish.client_id.as_deref().unwrap_or(&caller.owner),
        request: &id,
        model: &wish.model,
        pool: caller.pool.name(),
        now_s: state.clock.now_s(),
        ttl_s: state.ticket_ttl_s,
    };
    let (token, expires_at) = ticket.sign(&state.keys).await?;
    kept.forget();
    Ok(Json(RoutedInference {
        request_id: id.to_string(),
        mode: InferenceMode::Direct,
        agent_id: Some(issued.agent),
        endpoint: issued.endpoint,
        token: Some(token),
        expires_at: Some(expires_at),
        kept_until: Some(kept_until),
        score: Some(issued.score),
        explanation: shown(issued.explanation),
    }))
}

/// The best agent can't be reached, or none is free: the request goes through this coordinator.
fn relay(here: &Called, id: &str, best: Option<(AgentId, f64)>, explanation: Option<Explanation>) -> RoutedInference {
    let (agent_id, score) = best.unzip();
    RoutedInference {
        request_id: id.to_owned(),
        mode: InferenceMode::Relay,
        agent_id,
        endpoint: here.url(),
        token: None,
        expires_at: None,
        kept_until: None,
        score,
        explanation,
    }
}

/// The coordinator as this client has called it.
#[derive(Debug)]
pub(crate) struct Called {
    host: Option<HeaderValue>,
    is_https: bool,
}

impl<S: Sync> FromRequestParts<S> for Called {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let is_https = parts.headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
        Ok(Self { host: parts.headers.get(header::HOST).cloned(), is_https })
    }
}

impl Called {
    /// Its URL; a path alone if the client does not say how it called it.
    fn url(&self) -> String {
        let host = self.host.as_ref().and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
        let scheme = if self.is_https { "https" } else { "http" };
        host.map(|host| format!("{scheme}://{host}")).unwrap_or_default()
    }
}

fn too_many(wait_ms: u64) -> ApiError {
    let wait = Duration::from_millis(wait_ms);
    ApiError::TooManyTickets { most: UNUSED, retry_after_s: wait.as_secs() + 1 }
}

impl Validate for RequestInference {
    fn check(&self, f: &mut Findings) {
        f.model_name("model", &self.model);
        if let Some(client_id) = &self.client_id {
            f.text("client_id", client_id, limits::LABEL_BYTES);
        }
        if let Some(user) = &self.user {
            f.text("user", user, limits::TEXT_BYTES);
        }
    }
}
