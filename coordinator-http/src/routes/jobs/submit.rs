//! `POST /api/v1/jobs`: accepts a job, and places it at once if an agent is at hand.

use axum::{
    extract::State,
    response::{AppendHeaders, IntoResponse},
};
use http::{StatusCode, header};
use serde::Deserialize;
use titan_api::jobs::{SubmitJob, SubmittedJob};
use titan_lua::jobs::{NewJob, Submit};
use utoipa::IntoParams;

use crate::{
    auth::callers::{JobsWrite, KeyCaller},
    decisions,
    error::ApiError,
    extract::{ApiJson, ApiQuery},
    idempotency::GivenKey,
    ids, notes,
    reply::Json,
    state::AppState,
    submission,
    validate::Validate,
};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SubmitQuery {
    /// Whether to explain the choice. Names of agents are shown to keys with `agents:read` only.
    #[serde(default)]
    explain: bool,
}

/// Submits a job.
#[utoipa::path(
    post,
    path = "/api/v1/jobs",
    operation_id = "submit_job",
    tag = "clients",
    request_body = SubmitJob,
    params(SubmitQuery, ("Idempotency-Key" = Option<String>, Header, description = "The same key and body again give the same job")),
    security(("api_key" = ["jobs:write"]), ("admin" = [])),
    responses((status = 202, description = "Accepted", body = SubmittedJob, headers(("Location" = String, description = "The job"))))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: KeyCaller<JobsWrite>,
    ApiQuery(query): ApiQuery<SubmitQuery>,
    key: GivenKey,
    ApiJson(spec): ApiJson<SubmitJob>,
) -> Result<impl IntoResponse, ApiError> {
    super::check_kinds(caller.may_infer, std::slice::from_ref(&spec))?;
    let idempotency = key.with(&caller.owner, &spec)?;
    spec.validate()?;
    if spec.reference.is_some() {
        return Err(ApiError::field("/ref", "is for jobs of a batch: leave it out"));
    }
    let now_ms = state.clock.now_ms();
    submission::check_delays(std::slice::from_ref(&spec), "", now_ms)?;
    let new = NewJob {
        id: ids::new_job_id(now_ms)?,
        spec: &spec,
        idempotency: idempotency.as_ref().map(|key| key.of_job(0)),
        terms: None,
        trace: notes::trace(),
    };
    let id = new.id.clone();
    let explain = query.explain || decisions::wants_parts();
    let outcome = Submit { jobs: &[new], owner: &caller.owner, explain }.run(&caller.pool).await;
    let outcome = outcome.map_err(|e| {
        ApiError::unsure(e, || match idempotency {
            Some(_) => "the job may have been accepted: repeat the call with the same Idempotency-Key".to_owned(),
            None => format!("the job may have been accepted, as {id}: look for it before repeating"),
        })
    })?;
    submission::count(&outcome, &state.metrics.submitted);
    spec.not_before.iter().for_each(|time| state.alarm.at(*time, now_ms));
    let (mut jobs, explanation) = submission::accepted(outcome, "", |index| index)?;
    let job = jobs.pop().ok_or_else(|| ApiError::Internal("no job was accepted".to_owned()))?;
    decisions::submitted(&job, explanation.as_ref());
    let explanation =
        explanation.filter(|_| query.explain).map(|e| if caller.sees_agents { e } else { e.without_agents() });
    let location = AppendHeaders([(header::LOCATION, format!("/api/v1/jobs/{}", job.id))]);
    Ok((StatusCode::ACCEPTED, location, Json(submission::told(job, explanation))))
}
