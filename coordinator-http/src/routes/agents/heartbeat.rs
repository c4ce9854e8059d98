//! `POST /api/v1/agents/{id}/heartbeat`: an agent says that it lives; where nobody parks, this one call does all.

use axum::extract::State;
use titan_api::{
    agents::{AgentToken, Model},
    ids::{AgentId, JobId},
    pull,
    work::{HeartbeatReply, HeartbeatRequest},
};
use titan_lua::agents::{Claimed, Heard, Heartbeat, HeartbeatOutcome, Reported};

use crate::{
    auth::{callers::AgentCaller, tokens},
    error::ApiError,
    extract::ApiJson,
    load::Class,
    pace::Pace,
    reply::Json,
    state::AppState,
    validate::Validate,
};

/// Says that an agent lives, and renews what it holds.
#[utoipa::path(
    post,
    path = "/api/v1/agents/{id}/heartbeat",
    operation_id = "agent_heartbeat",
    tag = "agents",
    request_body = HeartbeatRequest,
    params(("id" = String, Path, description = "The agent's id")),
    security(("agent" = [])),
    responses((status = 200, body = HeartbeatReply))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    agent: AgentCaller,
    ApiJson(request): ApiJson<HeartbeatRequest>,
) -> Result<Json<HeartbeatReply>, ApiError> {
    request.validate()?;
    if request.leases.is_empty() && request.reports.is_empty() {
        state.load.check(Class::Heartbeats)?;
    }
    let next_heartbeat_ms = state.pace.next_heartbeat_ms(agent.pool_name(), !request.leases.is_empty());
    let reported = report(&state, &agent, &request).await?;
    let heard = heartbeat(&agent, &request).await?;
    state.metrics.data_loss.tell(agent.id(), agent.pool_name(), heard.lost);
    let claimed = claim(&agent, &request, state.pace.parking(), next_heartbeat_ms).await?;
    let begins = !claimed.leases.is_empty();
    let next_heartbeat_ms =
        if begins { state.pace.next_heartbeat_ms(agent.pool_name(), true) } else { next_heartbeat_ms };
    let watched = reported.watched || heard.watched || claimed.watched;
    Ok(Json(HeartbeatReply {
        next_heartbeat_ms,
        settings: state.agent_settings(),
        stop: heard.stop,
        cancel: together(&[reported.cancel, heard.cancel, claimed.cancel]),
        token: fresh_token(&state, &agent)?,
        draining: heard.draining,
        flush_ms: state.pace.flush_ms(watched),
        answers: reported.answers,
        leases: claimed.leases,
    }))
}

/// Reports go first, so that what they free is there for the claim.
async fn report(state: &AppState, agent: &AgentCaller, request: &HeartbeatRequest) -> Result<Reported, ApiError> {
    if request.reports.is_empty() {
        return Ok(Reported::default());
    }
    super::report::run(state, agent, &request.reports, None).await
}

async fn heartbeat(agent: &AgentCaller, request: &HeartbeatRequest) -> Result<Heard, ApiError> {
    let models = request.models.as_ref().map(|models| with_puller(models, agent.id(), request.pulls));
    let heartbeat = Heartbeat {
        agent: agent.id(),
        epoch: agent.epoch(),
        seq: request.seq,
        last_claim: request.last_claim,
        measures: &request.measures,
        leases: &request.leases,
        models: models.as_deref(),
        leaving: request.leaving,
    };
    match heartbeat.run(&agent.pool).await? {
        HeartbeatOutcome::Heard(heard) => Ok(heard),
        HeartbeatOutcome::TurnedAway(why) => Err(why.into()),
    }
}

/// The models of an agent, with the one that stands for pulling if it would do that.
fn with_puller(models: &[Model], agent: &AgentId, pulls: u32) -> Vec<Model> {
    let puller = (pulls > 0).then(|| Model {
        name: pull::puller(agent),
        vram_mb: 0,
        parallel: pulls,
        loaded: true,
        backend: String::new(),
        size_mb: None,
    });
    models.iter().cloned().chain(puller).collect()
}

/// Whoever parks has its claims for being at hand; whoever does not is at hand if it comes back soon.
async fn claim(
    agent: &AgentCaller,
    request: &HeartbeatRequest,
    parking: bool,
    next_heartbeat_ms: u64,
) -> Result<Claimed, ApiError> {
    let Some(claim) = request.claim else { return Ok(Claimed::default()) };
    let reachable_ms = if parking { 0 } else { Pace::reachable_ms(next_heartbeat_ms) };
    super::claim::run(agent, claim, None, reachable_ms).await
}

fn fresh_token(state: &AppState, agent: &AgentCaller) -> Result<Option<AgentToken>, ApiError> {
    if !agent.needs_token(state.clock.now_s()) {
        return Ok(None);
    }
    let (pool, epoch, public_key) = (agent.pool_name(), agent.epoch(), agent.public_key());
    tokens::issue_agent_token(state, agent.id(), pool, epoch, public_key).map(Some)
}

fn together(lists: &[Vec<JobId>; 3]) -> Vec<JobId> {
    let mut all = lists.concat();
    all.sort_unstable();
    all.dedup();
    all
}
