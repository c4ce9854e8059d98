//! `POST /api/v1/agents/join`: lets an agent's key into a pool. Repeating it with the same token and key gives the same
//! agent.

use axum::extract::State;
use titan_api::{
    agents::{JoinReply, JoinRequest},
    ids::AgentId,
};
use titan_lua::{
    agents::{JoinAgent, JoinOutcome, TurnedAway},
    credentials::join_tokens::{self, UseOutcome},
};

use crate::{
    auth::{bearer::unauthorized, callers::JoinCaller, secrets, tokens},
    error::ApiError,
    extract::ApiJson,
    ids,
    reply::Json,
    state::AppState,
    validate::Validate,
};

/// Lets an agent's key into the pool.
#[utoipa::path(
    post,
    path = "/api/v1/agents/join",
    operation_id = "join_agent",
    tag = "agents",
    request_body = JoinRequest,
    security(("join_token" = [])),
    responses((status = 200, body = JoinReply))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: JoinCaller,
    ApiJson(request): ApiJson<JoinRequest>,
) -> Result<Json<JoinReply>, ApiError> {
    request.validate()?;
    let wish = match request.agent_id {
        Some(wish) => wish,
        None => id_of(&request.public_key)?,
    };
    let key = request.public_key.as_str();
    let use_id = ids::random_id();
    let used = join_tokens::use_once(&state.store, &caller.id, &caller.secret_sha256, key, &wish, &use_id).await?;
    let (pool, agent) = match used {
        UseOutcome::Used { pool, agent } => (pool, agent),
        UseOutcome::Invalid => return Err(unauthorized("the join token is wrong, expired or revoked")),
        UseOutcome::UsedUp => return Err(unauthorized("the join token has been used; ask for another one")),
    };
    let joined = JoinAgent { agent: &agent, public_key: key }.run(&state.store.pool(&pool)).await?;
    match joined {
        JoinOutcome::Joined => {}
        JoinOutcome::Taken => {
            join_tokens::forget_use(&state.store, &caller.id, key, &use_id).await?;
            return Err(ApiError::Conflict(format!(
                "another machine has the id {agent} in this pool, and asking for it has spent this use of the join token: \
                 get another one, and choose another id with --node-id or remove that agent first"
            )));
        }
        JoinOutcome::Removed => return Err(TurnedAway::Removed.into()),
    }
    let credential = tokens::issue_credential(&state.keys, &state.clock, &agent, &pool, key)?;
    tracing::info!(component = "agents", agent.id = %agent, pool = %pool, "an agent joined");
    Ok(Json(JoinReply { agent_id: agent, pool, credential }))
}

/// The id of an agent that has no wish.
fn id_of(public_key: &str) -> Result<AgentId, ApiError> {
    let digits = &secrets::sha256_hex(public_key)[..12];
    AgentId::new(format!("agent-{digits}")).map_err(|e| ApiError::Internal(e.to_string()))
}
