//! Registering: the agent proves who it is, says what the box has, and gets a token and its settings.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use titan_api::{
    PROTOCOL,
    agents::{JoinReply, RegisterReply, RegisterRequest},
    problem::ProblemType,
};
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::{
    agent::Agent,
    backoff::Backoff,
    identity::proof,
    join,
    link::{CallError, Fatal},
};

const LIMIT: Duration = Duration::from_secs(15);
/// By how much the clock that the agent goes by may differ from what a token says.
const TOLERANCE_MS: u64 = 3_000;

/// What one run of the agent registers as.
#[derive(Debug)]
pub(crate) struct Registration {
    /// A random name of this run.
    instance_id: String,
    /// The credential that the coordinator accepted.
    credential: OnceLock<JoinReply>,
    /// How far the coordinator's clock is ahead, milliseconds.
    ahead_ms: AtomicI64,
    /// Held while registering, so that of many loops one does it.
    turn: Mutex<()>,
}

impl Registration {
    pub(crate) fn new() -> Self {
        let instance_id = uuid::Uuid::new_v4().to_string();
        Self { instance_id, credential: OnceLock::new(), ahead_ms: AtomicI64::new(0), turn: Mutex::new(()) }
    }

    /// Seconds since the epoch on the coordinator's clock, as far as it is known.
    pub(crate) fn now_s(&self) -> i64 {
        self.now_ms().div_euclid(1_000)
    }

    /// The same in milliseconds.
    pub(crate) fn now_ms(&self) -> i64 {
        own_time_ms().saturating_add(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// A token has come, which says what time it was at the coordinator when it was made. Ticks of a second, and what it
    /// took to come, move nothing.
    pub(crate) fn heed_time_of(&self, token: &str) {
        let Some(issued_s) = issued_at(token) else { return };
        let theirs_ms = issued_s.saturating_mul(1_000).saturating_add(500);
        if theirs_ms.abs_diff(self.now_ms()) > TOLERANCE_MS {
            self.set_time(theirs_ms);
        }
    }

    /// The coordinator said what time it is.
    fn set_time(&self, server_time_ms: i64) {
        self.ahead_ms.store(server_time_ms.saturating_sub(own_time_ms()), Ordering::Relaxed);
    }
}

impl Agent {
    /// Registers when the agent starts. If the credential is not accepted and there is a join token, it joins anew.
    ///
    /// # Errors
    /// The coordinator will not have this agent.
    pub(crate) async fn register_first(&self, mut credential: JoinReply) -> anyhow::Result<()> {
        let mut rejoined = false;
        let mut backoff = backoff();
        loop {
            let error = match self.register(&credential).await {
                Ok(reply) => {
                    // Set once: nobody else can have done it.
                    let _ = self.registration.credential.set(credential);
                    self.registered(reply);
                    return Ok(());
                }
                Err(error) => error,
            };
            if let Some(fatal) = error.fatal() {
                return Err(fatal.into());
            } else if error.is_transient() {
                pause(&mut backoff, &error).await;
            } else if error.problem_type() == Some(ProblemType::Unauthorized) && !rejoined {
                credential = self.join_anew(&error).await?;
                rejoined = true;
            } else {
                bail!("the coordinator does not accept this agent: {error}");
            }
        }
    }

    /// A coordinator with new keys knows no credential; with a join token that is soon repaired.
    async fn join_anew(&self, error: &CallError) -> anyhow::Result<JoinReply> {
        warn!("the coordinator does not accept the credential ({error})");
        let path = self.identity.credential_path();
        let joined = join::join(&self.config, &self.identity, &self.link).await;
        joined.with_context(|| format!("the coordinator does not accept the credential in {}", path.display()))
    }

    /// Registers again, unless another loop has done it since the session `generation`. Does not give up.
    ///
    /// # Errors
    /// The agent is not wanted any more.
    pub(crate) async fn register_again(&self, generation: u64) -> Result<(), Fatal> {
        let Some(credential) = self.registration.credential.get() else { return Ok(()) };
        let _turn = self.registration.turn.lock().await;
        let mut backoff = backoff();
        while self.link.session().generation == generation {
            match self.register(credential).await {
                Ok(reply) => {
                    self.registered(reply);
                    // The coordinator knows nothing of what the box has left any more.
                    self.beat_now.notify_one();
                }
                Err(error) => match error.fatal() {
                    Some(fatal) => return Err(fatal),
                    // What runs here is worth more than a quick end: an operator may put the coordinator right.
                    None => pause(&mut backoff, &error).await,
                },
            }
        }
        Ok(())
    }

    /// Registers once; twice if the clocks differ, since then the coordinator tells the time.
    async fn register(&self, credential: &JoinReply) -> Result<RegisterReply, CallError> {
        match self.register_once(credential).await {
            Err(CallError::Refused { problem, .. }) if problem.problem_type() == Some(ProblemType::ClockSkew) => {
                if let Some(time_ms) = problem.server_time_ms {
                    self.registration.set_time(time_ms);
                    info!("this box's clock differs from the coordinator's; the coordinator's counts");
                }
                self.register_once(credential).await
            }
            answer => answer,
        }
    }

    async fn register_once(&self, credential: &JoinReply) -> Result<RegisterReply, CallError> {
        let registration = &self.registration;
        let request = RegisterRequest {
            protocol: PROTOCOL,
            credential: credential.credential.clone(),
            proof: proof(self.identity.key(), credential, &registration.instance_id, registration.now_s()),
            instance_id: registration.instance_id.clone(),
            facts: self.facts(),
            running: self.attempts.snapshot().1,
        };
        let reply = self.link.post("/api/v1/agents/register", None, &request, LIMIT).await?;
        // Of pulling the first heartbeat tells.
        self.models_told(request.facts.models, 0);
        Ok(reply)
    }

    fn registered(&self, reply: RegisterReply) {
        info!(agent.id = %reply.agent_id, pool = %reply.pool, "registered");
        self.registration.heed_time_of(&reply.token.token);
        self.link.begin_session(reply.agent_id, reply.token.token);
        self.apply(reply.settings);
        self.revoke_all(&reply.stop);
    }
}

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(500), Duration::from_secs(30))
}

async fn pause(backoff: &mut Backoff, error: &CallError) {
    let wait = backoff.after_failure(error.retry_after());
    warn!("registering: {error}; next try in {:.1} s", wait.as_secs_f64());
    tokio::time::sleep(wait).await;
}

/// When a token was made, in seconds since the epoch. Whether it is good is for the coordinator to say.
fn issued_at(token: &str) -> Option<i64> {
    #[derive(Deserialize)]
    struct Claims {
        iat: i64,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    Some(serde_json::from_slice::<Claims>(&claims).ok()?.iat)
}

fn own_time_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_that_a_coordinator_may_tell_is_too_far_off_to_count_with() {
        let registration = Registration::new();
        for time_ms in [i64::MIN, i64::MAX] {
            registration.set_time(time_ms);
            assert_eq!(registration.now_s().signum(), time_ms.signum());
        }
        registration.set_time(5_000_000);
        assert!((5_000..5_060).contains(&registration.now_s()));
    }

    #[test]
    fn the_time_in_a_token_counts_if_the_box_has_another() {
        let token = |issued_s: i64| format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(format!("{{\"iat\":{issued_s}}}")));
        let registration = Registration::new();
        let now_s = registration.now_s();
        for (issued_s, ahead_s) in [(now_s - 1, 0), (now_s + 40, 40), (now_s + 41, 40), (now_s - 40, -40)] {
            registration.heed_time_of(&token(issued_s));
            let ahead_ms = registration.now_ms() - own_time_ms();
            assert!(ahead_ms.abs_diff(ahead_s * 1_000) < TOLERANCE_MS, "{issued_s} {ahead_ms}");
        }
        let before = registration.ahead_ms.load(Ordering::Relaxed);
        for nonsense in ["", "a", "a.b.c", "e30.e30.x"] {
            registration.heed_time_of(nonsense);
        }
        assert_eq!(registration.ahead_ms.load(Ordering::Relaxed), before);
    }
}
