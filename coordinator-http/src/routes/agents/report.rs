//! `POST /api/v1/agents/{id}/report`: what happened to an agent's attempts, and what it claims then. Repeats are harmless.

use std::time::Duration;

use axum::extract::State;
use titan_api::work::{Answer, Claim, Happening, Report, ReportReply, ReportRequest};
use titan_lua::agents::{NextClaim, ReportBatch, ReportOutcome, Reported};

use crate::{
    auth::{callers::AgentCaller, receipts},
    decisions,
    error::ApiError,
    extract::ApiJson,
    load::Class,
    reply::Json,
    state::AppState,
    validate::Validate,
};

/// Tells what happened to an agent's attempts, and claims work.
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
    let next = request.claim.and_then(|claim| next_claim(&state, &agent, claim));
    let reported = run(&state, &agent, &request.reports, next).await?;
    let flush_ms = state.pace.flush_ms(reported.watched);
    let leases = next.map(|_| reported.leases);
    Ok(Json(ReportReply { answers: reported.answers, leases, cancel: reported.cancel, flush_ms }))
}

/// The claim that comes with reports. With too much to do it is left for later, and the reports are taken in all the same.
fn next_claim(state: &AppState, agent: &AgentCaller, claim: Claim) -> Option<NextClaim> {
    let has_time = state.load.has_time_for(Class::Claims);
    has_time.then(|| NextClaim { claim, reachable_ms: super::claim::claims_again_ms(state, agent) })
}

/// Takes in a batch, without those reports whose receipts are not good.
pub(super) async fn run(
    state: &AppState,
    agent: &AgentCaller,
    reports: &[Report],
    next: Option<NextClaim>,
) -> Result<Reported, ApiError> {
    let Some(public_key) = agent.public_key() else {
        // Its token is from before tokens named a key, so that no receipt can be checked; none is believed.
        let without = |report: &Report| Report { receipt: None, ..report.clone() };
        return take_in(state, agent, &reports.iter().map(without).collect::<Vec<_>>(), next).await;
    };
    let is_good = |report: &Report| receipts::is_good(report, agent.id(), public_key);
    let good: Vec<bool> = reports.iter().map(is_good).collect();
    if good.iter().all(|is_good| *is_good) {
        return take_in(state, agent, reports, next).await;
    }
    let rest: Vec<_> = reports.iter().zip(&good).filter(|(_, good)| **good).map(|(report, _)| report.clone()).collect();
    let reported = take_in(state, agent, &rest, next).await?;
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

async fn take_in(
    state: &AppState,
    agent: &AgentCaller,
    reports: &[Report],
    next: Option<NextClaim>,
) -> Result<Reported, ApiError> {
    let batch = ReportBatch { agent: agent.id(), epoch: agent.epoch(), reports };
    let outcome = match next {
        Some(next) => batch.run_and_claim(&agent.pool, next).await?,
        None => batch.run(&agent.pool).await?,
    };
    match outcome {
        ReportOutcome::Reported(reported) => {
            for (report, answer) in reports.iter().zip(&reported.answers) {
                state.metrics.reports.count((kind(&report.event), word(*answer)));
            }
            decisions::handed_out(agent.id(), &reported.leases);
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
