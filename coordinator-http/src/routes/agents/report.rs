//! `POST /api/v1/agents/{id}/report`: what happened to an agent's attempts. Repeats are harmless.

use std::time::Duration;

use axum::extract::State;
use titan_api::work::{Answer, Happening, Report, ReportReply, ReportRequest};
use titan_lua::agents::{ReportBatch, ReportOutcome, Reported};

use crate::{
    auth::{callers::AgentCaller, receipts},
    error::ApiError,
    extract::ApiJson,
    reply::Json,
    state::AppState,
    validate::Validate,
};

/// Tells what happened to an agent's attempts.
#[utoipa::path(
    post,
    path = "/api/v1/agents/{id}/report",
    operation_id = "agent_report",
    tag = "agents",
    request_body = ReportRequest,
    params(("id" = String, Path, description = "The agent's id")),
    security(("agent" = [])),
    responses((status = 200, body = ReportReply))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    agent: AgentCaller,
    ApiJson(request): ApiJson<ReportRequest>,
) -> Result<Json<ReportReply>, ApiError> {
    request.validate()?;
    let reported = run(&state, &agent, &request.reports).await?;
    let flush_ms = state.pace.flush_ms(reported.watched);
    Ok(Json(ReportReply { answers: reported.answers, cancel: reported.cancel, flush_ms }))
}

/// Takes in a batch, without those reports whose receipts are not good.
pub(super) async fn run(state: &AppState, agent: &AgentCaller, reports: &[Report]) -> Result<Reported, ApiError> {
    let Some(public_key) = agent.public_key() else {
        // Its token is from before tokens named a key, so that no receipt can be checked; none is believed.
        let without = |report: &Report| Report { receipt: None, ..report.clone() };
        return take_in(state, agent, &reports.iter().map(without).collect::<Vec<_>>()).await;
    };
    let is_good = |report: &Report| receipts::is_good(report, agent.id(), public_key);
    let good: Vec<bool> = reports.iter().map(is_good).collect();
    if good.iter().all(|is_good| *is_good) {
        return take_in(state, agent, reports).await;
    }
    let rest: Vec<_> = reports.iter().zip(&good).filter(|(_, good)| **good).map(|(report, _)| report.clone()).collect();
    let reported = take_in(state, agent, &rest).await?;
    let mut told = reported.answers.into_iter();
    let answers = reports.iter().zip(good).map(|(report, is_good)| {
        let answer = if is_good { told.next() } else { None };
        answer.unwrap_or_else(|| {
            tracing::warn!(component = "agents", agent.id = %agent.id(), job.id = %report.lease.job_id, "a receipt is not good");
            state.metrics.reports.count((kind(&report.event), word(Answer::Invalid {})));
            Answer::Invalid {}
        })
    });
    Ok(Reported { answers: answers.collect(), ..reported })
}

async fn take_in(state: &AppState, agent: &AgentCaller, reports: &[Report]) -> Result<Reported, ApiError> {
    match (ReportBatch { agent: agent.id(), epoch: agent.epoch(), reports }).run(&agent.pool).await? {
        ReportOutcome::Reported(reported) => {
            for (report, answer) in reports.iter().zip(&reported.answers) {
                state.metrics.reports.count((kind(&report.event), word(*answer)));
            }
            if reports.iter().any(|report| matches!(report.event, Happening::Failed { .. })) {
                // The job may wait a little before its next attempt.
                state.alarm.within(Duration::ZERO);
            }
            Ok(reported)
        }
        ReportOutcome::TurnedAway(why) => Err(why.into()),
    }
}

fn kind(event: &Happening) -> &'static str {
    match event {
        Happening::Started {} => "started",
        Happening::Output { .. } => "output",
        Happening::Completed { .. } => "completed",
        Happening::Failed { .. } => "failed",
        Happening::Cancelled {} => "cancelled",
        Happening::Released {} => "released",
    }
}

fn word(answer: Answer) -> &'static str {
    match answer {
        Answer::Accepted {} => "accepted",
        Answer::StaleAttempt {} => "stale_attempt",
        Answer::OffsetMismatch { .. } => "offset_mismatch",
        Answer::Invalid {} => "invalid",
    }
}
