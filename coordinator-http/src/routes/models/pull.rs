//! `POST /api/v1/models/pull`: has an agent get a model onto its box. What comes of it is a job like others: it is followed,
//! cancelled and kept as those are.

use axum::{
    extract::State,
    response::{AppendHeaders, IntoResponse},
};
use http::{StatusCode, header};
use serde_json::json;
use titan_api::{
    agents::{Agent, AgentState},
    inference::{InferenceRoute, InferenceSpec},
    jobs::{JobKind, SubmitJob, SubmittedJob},
    pull::{self, PullModel},
};
use titan_lua::jobs::{NewJob, Submit, SubmitOutcome, Terms};

use crate::{
    auth::callers::{AgentsWrite, KeyCaller},
    decisions,
    error::ApiError,
    extract::ApiJson,
    idempotency::GivenKey,
    ids, notes,
    reply::Json,
    routes::get_agent,
    state::AppState,
    submission,
    validate::Validate,
};

/// How long the agent has to begin; it is there, so this is for its other pulls.
const BEGINS_WITHIN_MS: u64 = 50_000;
/// How long what it wrote of its progress is kept after the end.
const KEEP_MS: u64 = 600_000;
/// How long the whole may take: large models come slowly over small lines.
const LIMIT_MS: u64 = 24 * 3_600 * 1_000;
/// How long the backend may take to begin, and be silent after that: it adds up large files without a word.
const FIRST_MS: u64 = 120_000;
const SILENCE_MS: u64 = 900_000;

/// Has an agent pull a model. Progress is the output of the job.
#[utoipa::path(
    post,
    path = "/api/v1/models/pull",
    operation_id = "pull_model",
    tag = "clients",
    request_body = PullModel,
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key and body again give the same job")),
    security(("api_key" = ["agents:write"]), ("admin" = [])),
    responses((status = 202, description = "Accepted", body = SubmittedJob, headers(("Location" = String, description = "The job"))))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: KeyCaller<AgentsWrite>,
    key: GivenKey,
    ApiJson(wish): ApiJson<PullModel>,
) -> Result<impl IntoResponse, ApiError> {
    let idempotency = key.with(&caller.owner, &wish)?;
    wish.validate()?;
    check_in_service(&get_agent(&caller.pool, &wish.agent_id).await?)?;
    let spec = job(&wish);
    let new = NewJob {
        id: ids::new_job_id(state.clock.now_ms())?,
        spec: &spec,
        idempotency: idempotency.as_ref().map(|key| key.of_job(0)),
        terms: Some(Terms {
            begin_within_ms: Some(BEGINS_WITHIN_MS),
            come_by_ms: None,
            keep_ms: KEEP_MS,
            session: None,
            avoid: None,
            is_awaited: false,
        }),
        trace: notes::trace(),
    };
    let outcome =
        Submit { jobs: &[new], owner: &caller.owner, explain: decisions::wants_parts() }.run(&caller.pool).await;
    let outcome = outcome
        .map_err(|e| ApiError::unsure(e, || "the model may be pulled: pulling it again is harmless".to_owned()))?;
    submission::count(&outcome, &state.metrics.submitted);
    if let SubmitOutcome::Unserved { .. } = outcome {
        return Err(cannot(&wish));
    }
    let (mut jobs, explanation) = submission::accepted(outcome, "", |index| index)?;
    let job = jobs.pop().ok_or_else(|| ApiError::Internal("no job was accepted".to_owned()))?;
    decisions::submitted(&job, explanation.as_ref());
    let location = AppendHeaders([(header::LOCATION, format!("/api/v1/jobs/{}", job.id))]);
    Ok((StatusCode::ACCEPTED, location, Json(submission::told(job, None))))
}

/// A pull waits for nobody to come back: whoever asks is there now, and can ask again.
fn check_in_service(agent: &Agent) -> Result<(), ApiError> {
    if agent.state == AgentState::Offline {
        return Err(ApiError::Conflict(format!("the agent {} is offline; try again when it is back", agent.id)));
    }
    if agent.draining {
        return Err(ApiError::Conflict(format!("the agent {} takes no new work: it is drained or leaving", agent.id)));
    }
    Ok(())
}

fn cannot(wish: &PullModel) -> ApiError {
    ApiError::Conflict(format!(
        "the agent {} cannot pull models: it has no Ollama that answers, or the policy of its box does not allow it",
        wish.agent_id
    ))
}

/// The job that only this agent can do.
fn job(wish: &PullModel) -> SubmitJob {
    let asked = InferenceSpec {
        model: pull::puller(&wish.agent_id),
        route: InferenceRoute::Pull,
        body: json!({ "model": wish.model }).to_string(),
        stream: true,
        continues: false,
        first_token_timeout_ms: FIRST_MS,
        token_timeout_ms: SILENCE_MS,
        load_timeout_ms: FIRST_MS,
    };
    SubmitJob { kind: JobKind::Inference, inference: Some(asked), timeout_ms: Some(LIMIT_MS), ..SubmitJob::default() }
}
