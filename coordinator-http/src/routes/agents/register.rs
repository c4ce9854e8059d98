//! `POST /api/v1/agents/register`: a run of an agent takes its place in the registry, and gets its first token.

use axum::extract::State;
use titan_api::agents::{RegisterReply, RegisterRequest};
use titan_lua::agents::{RegisterAgent, RegisterOutcome, TurnedAway};

use crate::{
    auth::{proof, tokens},
    error::ApiError,
    extract::ApiJson,
    reply::Json,
    state::AppState,
    validate::Validate,
};

/// Begins a run of an agent, and gives it a token.
#[utoipa::path(
    post,
    path = "/api/v1/agents/register",
    operation_id = "register_agent",
    tag = "agents",
    request_body = RegisterRequest,
    security(()),
    responses((status = 200, body = RegisterReply))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    ApiJson(request): ApiJson<RegisterRequest>,
) -> Result<Json<RegisterReply>, ApiError> {
    request.validate()?;
    let credential = tokens::verify_credential(&state.keys, &state.clock, &request.credential)?;
    proof::verify(&request.proof, &credential, &request.credential, &request.instance_id, &state.clock)?;
    let (agent, pool) = (credential.sub, credential.pool);
    let register = RegisterAgent {
        agent: &agent,
        public_key: &credential.public_key,
        instance_id: &request.instance_id,
        facts: &request.facts,
        running: &request.running,
    };
    let (epoch, stop, lost) = match register.run(&state.store.pool(&pool)).await? {
        RegisterOutcome::Registered { epoch, stop, lost } => (epoch, stop, lost),
        RegisterOutcome::Superseded => return Err(TurnedAway::Superseded.into()),
        RegisterOutcome::Removed => return Err(TurnedAway::Removed.into()),
        RegisterOutcome::Taken => {
            return Err(ApiError::Conflict(format!(
                "another machine has the id {agent} in this pool by now: join anew with another id, or remove that agent \
                 first"
            )));
        }
    };
    let public_key = Some(credential.public_key.as_str());
    let token = tokens::issue_agent_token(&state, &agent, &pool, epoch, public_key)?;
    tracing::info!(component = "agents", agent.id = %agent, pool = %pool, epoch, "an agent registered");
    state.metrics.data_loss.tell(&agent, &pool, lost);
    Ok(Json(RegisterReply { agent_id: agent, pool, token, settings: state.agent_settings(), stop }))
}
