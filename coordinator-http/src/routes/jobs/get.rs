//! `GET /api/v1/jobs/{id}`: one job; with `wait_ms`, as soon as it has ended.

use axum::extract::State;
use serde::Deserialize;
use titan_api::{
    ids::JobId,
    jobs::{Job, JobKind, JobState},
    secret::{COVER, Secret},
};
use titan_lua::{
    Pool,
    jobs::{GetJob, WhyWaiting},
    watch::Topic,
};
use utoipa::IntoParams;

use super::no_such_job;
use crate::{
    auth::callers::{JobsRead, KeyCaller},
    error::ApiError,
    extract::{ApiPath, ApiQuery},
    reply::Json,
    routes::read_wait,
    state::AppState,
    waiters::{Holder, Look},
};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitQuery {
    /// How long to wait for the job's end, milliseconds, at most 20,000; 2,000 where nobody parks.
    #[serde(default)]
    wait_ms: u64,
}

/// One job; with `wait_ms`, as soon as it has ended.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{id}",
    operation_id = "get_job",
    tag = "clients",
    params(("id" = String, Path, description = "The job's id"), WaitQuery),
    security(("api_key" = ["jobs:read"]), ("admin" = [])),
    responses((status = 200, body = Job))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: KeyCaller<JobsRead>,
    ApiPath(id): ApiPath<JobId>,
    ApiQuery(query): ApiQuery<WaitQuery>,
) -> Result<Json<Job>, ApiError> {
    let wait = read_wait(&state, query.wait_ms)?;
    let topic = Topic::Job(id.clone());
    let job = state
        .waiters
        .until_found(&caller.pool, Holder::Key(&caller.owner), topic, wait, |_| look(&caller.pool, &id))
        .await?;
    let mut job = without_secrets(job);
    if job.state == JobState::Pending {
        job.waiting = (WhyWaiting { job: &id }).run(&caller.pool).await?;
    }
    if let Some(waiting) = job.waiting.as_mut().filter(|_| !caller.sees_agents) {
        waiting.holds = None;
        waiting.hindered.clear();
    }
    if caller.owner != job.submitted_by && job.kind == JobKind::Inference {
        forget_words(&mut job);
    }
    Ok(Json(if caller.is_admin || caller.owner == job.submitted_by { job } else { covered(job) }))
}

/// The job without what nobody is shown again.
fn without_secrets(mut job: Job) -> Job {
    job.process.secret_env.values_mut().for_each(|value| *value = Secret::covered());
    job
}

/// The request without what was asked, and without what a backend says of it, which may be the same.
fn forget_words(job: &mut Job) {
    if let Some(asked) = &mut job.inference {
        asked.body.clear();
    }
    job.message = None;
    job.failures.iter_mut().for_each(|failure| failure.message = None);
}

/// The job without what may be secret of its submitter.
fn covered(mut job: Job) -> Job {
    for text in job.process.env.values_mut().chain(&mut job.process.stdin) {
        COVER.clone_into(text);
    }
    job
}

async fn look(pool: &Pool, id: &JobId) -> Result<Look<Job>, ApiError> {
    let job = GetJob { job: id }.run(pool).await?.ok_or_else(|| no_such_job(id))?;
    Ok(if job.state.is_ended() { Look::Found(job) } else { Look::Nothing(job) })
}
