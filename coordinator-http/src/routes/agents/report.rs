//! `POST /api/v1/agents/{id}/report`: what happened to an agent's attempts. Repeats are harmless.

use std::time::Duration;

use axum::{Json, extract::State};
use titan_api::work::{Answer, Happening, Report, ReportReply, ReportRequest};
use titan_lua::agents::{ReportBatch, ReportOutcome, Reported};

use crate::{auth::callers::AgentCaller, error::ApiError, extract::ApiJson, state::AppState, validate::Validate};

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

/// Takes in a batch.
pub(super) async fn run(state: &AppState, agent: &AgentCaller, reports: &[Report]) -> Result<Reported, ApiError> {
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
