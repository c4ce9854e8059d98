//! Joining: a join token is turned into a credential of the agent's own, once in the life of the box.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use titan_api::{
    PROTOCOL,
    agents::{JoinReply, JoinRequest},
    problem::ProblemType,
};
use tracing::{info, warn};

use crate::{
    backoff::Backoff,
    config::Config,
    identity::Identity,
    link::{CallError, Link},
};

const LIMIT: Duration = Duration::from_secs(15);

/// The credential kept on disk, or else a new one for the join token.
///
/// # Errors
/// There is neither credential nor token, the two sides disagree about who this is, or the coordinator refused.
pub(crate) async fn credential(config: &Config, identity: &Identity, link: &Link) -> anyhow::Result<JoinReply> {
    let Some(kept) = identity.credential()? else { return join(config, identity, link).await };
    if let Some(wish) = config.node_id.as_ref().filter(|wish| **wish != kept.agent_id) {
        bail!(
            "this box has joined as `{}` and --node-id says `{wish}`: leave --node-id out, or give the other agent a \
             --state-dir of its own",
            kept.agent_id
        );
    }
    Ok(kept)
}

/// Joins with the join token, as a new agent or with a key that has joined before.
///
/// # Errors
/// There is no token, or the coordinator refused it.
pub(crate) async fn join(config: &Config, identity: &Identity, link: &Link) -> anyhow::Result<JoinReply> {
    let token = config.join_token.read()?.context(
        "this box has not joined a pool yet and has no join token: have an admin make one, and give it in the \
         environment variable TITAN_JOIN_TOKEN or with --join-token-file",
    )?;
    let request =
        JoinRequest { protocol: PROTOCOL, public_key: identity.key().public(), agent_id: config.node_id.clone() };
    let reply = until_answered(link, &token, &request).await.map_err(|e| explain(&e))?;
    identity.keep(&reply)?;
    info!(agent.id = %reply.agent_id, pool = %reply.pool, "joined");
    Ok(reply)
}

async fn until_answered(link: &Link, token: &str, request: &JoinRequest) -> Result<JoinReply, CallError> {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    loop {
        match link.post("/api/v1/agents/join", Some(token), request, LIMIT).await {
            Err(error) if error.is_transient() => {
                let wait = backoff.after_failure(error.retry_after());
                warn!("joining: {error}; next try in {:.1} s", wait.as_secs_f64());
                tokio::time::sleep(wait).await;
            }
            answer => return answer,
        }
    }
}

fn explain(error: &CallError) -> anyhow::Error {
    match error.problem_type() {
        Some(ProblemType::Unauthorized | ProblemType::Forbidden) => anyhow!(
            "the coordinator does not accept the join token ({error}): it was mistyped, used by another box, revoked, \
             or is too old. Have an admin make a new one"
        ),
        Some(ProblemType::Conflict) => anyhow!(
            "the coordinator does not let this box join under that name ({error}): choose another --node-id, or have \
             an admin remove the old agent"
        ),
        Some(ProblemType::AgentRemoved) => anyhow!("{}", crate::link::Fatal::Removed),
        _ => anyhow!("the coordinator does not let this box join: {error}"),
    }
}
