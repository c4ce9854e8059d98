//! `POST /api/v1/agents/{id}/claim`: an agent takes the jobs that wait for it, or waits for one.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use axum::extract::State;
use titan_api::{
    agents::Measures,
    work::{Claim, ClaimReply, ClaimRequest},
};
use titan_lua::{
    agents::{ClaimJobs, ClaimOutcome, Claimed},
    watch::Topic,
};

use crate::{
    auth::callers::AgentCaller,
    decisions,
    error::ApiError,
    extract::ApiJson,
    pace::Pace,
    reply::Json,
    state::AppState,
    validate::Validate,
    waiters::{Holder, Look, Visit},
};

/// An agent whose claim ends empty claims again at once; until then it still counts as at hand.
const SLACK_MS: u64 = 1_000;

/// Takes jobs that wait for an agent, or waits for one.
#[utoipa::path(
    post,
    path = "/api/v1/agents/{id}/claim",
    operation_id = "agent_claim",
    tag = "agents",
    request_body = ClaimRequest,
    params(("id" = String, Path, description = "The agent's id")),
    security(("agent" = [])),
    responses((status = 200, body = ClaimReply))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    agent: AgentCaller,
    ApiJson(request): ApiJson<ClaimRequest>,
) -> Result<Json<ClaimReply>, ApiError> {
    request.validate()?;
    let parking = state.pace.parking();
    let poll_after_ms = state.pace.poll_after_ms(agent.pool_name());
    let wait = Duration::from_millis(if parking { request.wait_ms } else { 0 });
    let topic = Topic::Agent(agent.id().clone());
    let (began, waited_ms) = (Instant::now(), AtomicU64::new(0));
    let look = |visit: Visit| {
        waited_ms.store(milliseconds(began.elapsed()), Ordering::Relaxed);
        let reachable_ms = if parking { parked_ms(visit) } else { Pace::reachable_ms(poll_after_ms) };
        // A measurement is new once; while the claim is parked, heartbeats bring newer ones.
        let measures = request.measures.as_ref().filter(|_| visit.first);
        look(&agent, request.claim, measures, reachable_ms)
    };
    let holder = Holder::Agent(agent.pool_name(), agent.id());
    let claimed = state.waiters.until_found(&agent.pool, holder, topic, wait, look).await?;
    Ok(Json(ClaimReply {
        leases: claimed.leases,
        waited_ms: waited_ms.into_inner(),
        cancel: claimed.cancel,
        poll_after_ms,
        flush_ms: state.pace.flush_ms(claimed.watched),
        parking,
    }))
}

async fn look(
    agent: &AgentCaller,
    claim: Claim,
    measures: Option<&Measures>,
    reachable_ms: u64,
) -> Result<Look<Claimed>, ApiError> {
    let claimed = run(agent, claim, measures, reachable_ms).await?;
    let found = !claimed.leases.is_empty() || !claimed.cancel.is_empty();
    Ok(if found { Look::Found(claimed) } else { Look::Nothing(claimed) })
}

/// Runs one claim.
pub(super) async fn run(
    agent: &AgentCaller,
    claim: Claim,
    measures: Option<&Measures>,
    reachable_ms: u64,
) -> Result<Claimed, ApiError> {
    let claim = ClaimJobs { agent: agent.id(), epoch: agent.epoch(), claim, measures, reachable_ms };
    match claim.run(&agent.pool).await? {
        ClaimOutcome::Claimed(claimed) => {
            decisions::handed_out(agent.id(), &claimed.leases);
            Ok(claimed)
        }
        ClaimOutcome::TurnedAway(why) => Err(why.into()),
    }
}

/// For how long an agent that was answered counts as at hand, since it claims again.
pub(super) fn claims_again_ms(state: &AppState, agent: &AgentCaller) -> u64 {
    if state.pace.parking() { SLACK_MS } else { Pace::reachable_ms(state.pace.poll_after_ms(agent.pool_name())) }
}

fn parked_ms(visit: Visit) -> u64 {
    if visit.left.is_zero() {
        return 0;
    }
    milliseconds(visit.left).saturating_add(SLACK_MS)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
