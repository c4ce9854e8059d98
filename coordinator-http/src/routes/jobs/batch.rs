//! `POST /api/v1/jobs/batch`: accepts many jobs, all or none. They may depend on each other.

use axum::extract::State;
use http::StatusCode;
use titan_api::jobs::{SubmitBatch, SubmittedBatch, SubmittedJob};
use titan_lua::jobs::{NewJob, Submit, Submitted};

use crate::{
    auth::callers::{JobsWrite, KeyCaller},
    decisions,
    error::ApiError,
    extract::ApiJson,
    idempotency::GivenKey,
    ids, notes,
    reply::Json,
    state::AppState,
    submission::{self, batch::Batch},
    validate::Validate,
};

/// Submits up to 1,000 jobs at once.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/batch",
    operation_id = "submit_jobs",
    tag = "clients",
    request_body = SubmitBatch,
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key and body again give the same jobs")),
    security(("api_key" = ["jobs:write"]), ("admin" = [])),
    responses((status = 202, description = "All are accepted", body = SubmittedBatch))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: KeyCaller<JobsWrite>,
    key: GivenKey,
    ApiJson(request): ApiJson<SubmitBatch>,
) -> Result<(StatusCode, Json<SubmittedBatch>), ApiError> {
    let idempotency = key.with(&caller.owner, &request)?;
    super::check_kinds(caller.may_infer, &request.jobs)?;
    request.validate()?;
    let now_ms = state.clock.now_ms();
    submission::check_delays(&request.jobs, "/jobs", now_ms)?;
    let ids = request.jobs.iter().map(|_| ids::new_job_id(now_ms)).collect::<Result<Vec<_>, _>>()?;
    let batch = Batch::new(request.jobs, &ids)?;
    let new = batch.jobs.iter().map(|(index, spec)| NewJob {
        id: ids[*index].clone(),
        spec,
        idempotency: idempotency.as_ref().map(|key| key.of_job(*index)),
        terms: None,
        trace: notes::trace(),
    });
    let jobs: Vec<_> = new.collect();
    let outcome = Submit { jobs: &jobs, owner: &caller.owner, explain: false }.run(&caller.pool).await;
    let outcome = outcome.map_err(|e| ApiError::unsure(e, || advice(idempotency.is_some())))?;
    submission::count(&outcome, &state.metrics.submitted);
    batch.jobs.iter().filter_map(|(_, spec)| spec.not_before).for_each(|time| state.alarm.at(time, now_ms));
    let places: Vec<_> = batch.jobs.iter().map(|(index, _)| *index).collect();
    let (accepted, _) = submission::accepted(outcome, "/jobs", |index| places[index])?;
    for job in &accepted {
        decisions::submitted(job, None);
    }
    Ok((StatusCode::ACCEPTED, Json(SubmittedBatch { jobs: in_order_of_call(&places, accepted) })))
}

fn advice(has_key: bool) -> String {
    let what = "some of the jobs may have been accepted";
    if has_key {
        format!("{what}: repeat the call with the same Idempotency-Key, which accepts the rest")
    } else {
        format!("{what}: look for them before repeating, and send an Idempotency-Key next time")
    }
}

fn in_order_of_call(places: &[usize], jobs: Vec<Submitted>) -> Vec<SubmittedJob> {
    let mut sorted: Vec<_> = places.iter().copied().zip(jobs).collect();
    sorted.sort_by_key(|(index, _)| *index);
    sorted.into_iter().map(|(_, job)| submission::told(job, None)).collect()
}
