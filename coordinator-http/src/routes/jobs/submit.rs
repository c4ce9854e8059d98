//! `POST /api/v1/jobs`: accepts a job, and places it at once if an agent is at hand.

use axum::{
    Json,
    extract::State,
    response::{AppendHeaders, IntoResponse},
};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use titan_api::{
    ids::{AgentId, JobId},
    jobs::{JobState, SubmitJob, SubmittedJob},
    scheduler::Explanation,
};
use titan_lua::jobs::{Submit, SubmitOutcome};
use utoipa::IntoParams;

use crate::{
    auth::callers::{JobsWrite, KeyCaller},
    error::ApiError,
    extract::{ApiJson, ApiQuery},
    ids,
    state::AppState,
    validate::Validate,
};

/// Where the log lines of decisions come from; `LOG_LEVEL=info,scheduler=debug` shows every candidate.
const SCHEDULER: &str = "scheduler";

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SubmitQuery {
    /// Whether to explain the choice. Names of agents are shown to keys with `agents:read` only.
    #[serde(default)]
    explain: bool,
}

#[utoipa::path(
    post,
    path = "/api/v1/jobs",
    operation_id = "submit_job",
    tag = "clients",
    request_body = SubmitJob,
    params(SubmitQuery),
    security(("api_key" = ["jobs:write"]), ("admin" = [])),
    responses((status = 202, description = "Accepted", body = SubmittedJob, headers(("Location" = String, description = "The job"))))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: KeyCaller<JobsWrite>,
    ApiQuery(query): ApiQuery<SubmitQuery>,
    headers: HeaderMap,
    ApiJson(spec): ApiJson<SubmitJob>,
) -> Result<impl IntoResponse, ApiError> {
    refuse_idempotency_key(&headers)?;
    spec.validate()?;
    let id = ids::new_job_id(state.clock.now_ms())?;
    let explain = query.explain || tracing::enabled!(target: SCHEDULER, tracing::Level::DEBUG);
    let outcome = Submit { job: &id, spec: &spec, owner: &caller.owner, explain }.run(&caller.pool).await;
    let outcome = outcome.map_err(|e| {
        ApiError::unsure(e, || format!("the job may have been accepted, as {id}: look for it before repeating"))
    })?;
    let (job_state, agent_id, explanation) = match outcome {
        SubmitOutcome::Scheduled { agent, score, explanation } => {
            state.metrics.submitted.count("scheduled");
            log_choice(&id, &agent, score, explanation.as_ref());
            (JobState::Scheduled, Some(agent), explanation)
        }
        SubmitOutcome::Pending { explanation } => {
            state.metrics.submitted.count("pending");
            tracing::info!(target: SCHEDULER, component = "scheduler", job.id = %id, "no agent is at hand: the job waits");
            (JobState::Pending, None, explanation)
        }
        SubmitOutcome::Unserved { ruled_out } => {
            state.metrics.submitted.count("unserved");
            return Err(ApiError::Unserved(ruled_out));
        }
    };
    let explanation = explanation.filter(|_| query.explain).map(|e| shown(e, caller.sees_agents));
    let location = AppendHeaders([(header::LOCATION, format!("/api/v1/jobs/{id}"))]);
    Ok((StatusCode::ACCEPTED, location, Json(SubmittedJob { id, state: job_state, agent_id, explanation })))
}

/// Better no than a promise that is not kept: nothing remembers these keys yet.
fn refuse_idempotency_key(headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.contains_key("idempotency-key") {
        return Err(ApiError::BadRequest(
            "this version does not keep Idempotency-Key: leave it out, and look for the job before sending it again"
                .to_owned(),
        ));
    }
    Ok(())
}

/// The explanation as this caller may see it: candidates are named by their ids.
fn shown(mut explanation: Explanation, sees_agents: bool) -> Explanation {
    if !sees_agents {
        explanation.candidates.clear();
    }
    explanation
}

fn log_choice(job: &JobId, agent: &AgentId, score: f64, explanation: Option<&Explanation>) {
    let parts = explanation.and_then(|e| e.candidates.first()).map(|chosen| chosen.parts);
    tracing::info!(
        target: SCHEDULER,
        component = "scheduler",
        job.id = %job,
        agent.id = %agent,
        score,
        vram = parts.map(|p| p.vram),
        load = parts.map(|p| p.load),
        rtt = parts.map(|p| p.rtt),
        performance = parts.map(|p| p.performance),
        "MCDA agent selected"
    );
    for candidate in explanation.iter().flat_map(|e| &e.candidates) {
        tracing::debug!(
            target: SCHEDULER,
            component = "scheduler",
            job.id = %job,
            agent.id = %candidate.agent_id,
            score = candidate.score,
            vram = candidate.parts.vram,
            load = candidate.parts.load,
            rtt = candidate.parts.rtt,
            performance = candidate.parts.performance,
            degraded = candidate.degraded,
            "agent scoring"
        );
    }
}
