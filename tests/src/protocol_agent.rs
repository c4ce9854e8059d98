//! An agent that only speaks the protocol: it joins, registers, claims and reports, and runs nothing.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use titan_api::{
    PROTOCOL,
    agents::{Facts, JoinReply, JoinRequest, RegisterReply, RegisterRequest},
    client::{Client, ClientError},
    ids::AgentId,
    work::{
        Claim, ClaimReply, ClaimRequest, Happening, HeartbeatReply, HeartbeatRequest, HeldLease, Lease, Report,
        ReportReply, ReportRequest,
    },
};
use tokio::time::sleep;

/// What came of a call that does all.
#[derive(Debug)]
pub struct Polled {
    /// What was claimed.
    pub leases: Vec<Lease>,
    /// How long to wait before the next one.
    pub pause: Duration,
}

/// An agent that has registered.
#[derive(Debug, Clone)]
pub struct ProtocolAgent {
    /// Its id.
    pub id: AgentId,
    client: Client,
    token: String,
    claims: u64,
    beats: u64,
}

impl ProtocolAgent {
    /// Joins with a token and registers, through a client without credentials.
    pub async fn enter(anyone: &Client, join_token: &str, name: &str, facts: &Facts) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let join = JoinRequest {
            protocol: PROTOCOL,
            public_key: URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
            agent_id: Some(AgentId::new(name).unwrap()),
        };
        let joined: JoinReply =
            anyone.clone().with_bearer(join_token).post("/api/v1/agents/join", &join).await.unwrap();
        let register = RegisterRequest {
            protocol: PROTOCOL,
            proof: proof(&pair, &joined),
            credential: joined.credential,
            instance_id: "run-1".into(),
            facts: facts.clone(),
            running: Vec::new(),
        };
        let registered: RegisterReply = anyone.post("/api/v1/agents/register", &register).await.unwrap();
        let token = registered.token.token;
        let client = anyone.clone().with_bearer(token.clone());
        Self { id: joined.agent_id, client, token, claims: 0, beats: 0 }
    }

    /// The next claim, parked for so long.
    pub async fn claim(&mut self, free_slots: u32, wait_ms: u64) -> Vec<Lease> {
        self.claim_any(free_slots, 0, wait_ms).await
    }

    /// The next claim for requests to models, parked for so long.
    pub async fn claim_requests(&mut self, free_requests: u32, wait_ms: u64) -> Vec<Lease> {
        self.claim_any(0, free_requests, wait_ms).await
    }

    async fn claim_any(&mut self, free_slots: u32, free_requests: u32, wait_ms: u64) -> Vec<Lease> {
        self.try_claim(free_slots, free_requests, wait_ms).await.unwrap()
    }

    async fn try_claim(
        &mut self,
        free_slots: u32,
        free_requests: u32,
        wait_ms: u64,
    ) -> Result<Vec<Lease>, ClientError> {
        let claim = Claim { claim: self.claims + 1, free_slots, free_requests };
        let request = ClaimRequest { protocol: PROTOCOL, claim, measures: None, wait_ms };
        let reply: ClaimReply = self.client.post(&format!("/api/v1/agents/{}/claim", self.id), &request).await?;
        self.claims += 1;
        Ok(reply.leases)
    }

    /// Works for as long as its task lives: waits for jobs, says so when there are some, and completes them at once. Where the
    /// coordinator does not answer, it comes back as agents do: later each time, at random, never before it was asked to, and with
    /// a sign of life.
    pub async fn work(mut self, wait_ms: u64, told: impl Fn()) {
        let mut failures = 0;
        loop {
            match self.turn(wait_ms, failures > 0, &told).await {
                Ok(()) => failures = 0,
                Err(error) => pause(&error, &mut failures).await,
            }
        }
    }

    async fn turn(&mut self, wait_ms: u64, was_away: bool, told: &impl Fn()) -> Result<(), ClientError> {
        if was_away {
            self.try_beat().await?;
        }
        let leases = self.try_claim(1, 0, wait_ms).await?;
        if leases.is_empty() {
            return Ok(());
        }
        told();
        let mut failures = 0;
        while let Err(error) = self.try_complete(&leases).await {
            pause(&error, &mut failures).await;
        }
        Ok(())
    }

    /// What it calls the coordinator with.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// What reports for it, while it does other things.
    #[must_use]
    pub fn speaker(&self) -> Speaker {
        Speaker { id: self.id.clone(), client: self.client.clone() }
    }

    /// Reports all of these as completed, in one call.
    pub async fn complete(&self, leases: &[Lease]) {
        self.try_complete(leases).await.unwrap();
    }

    async fn try_complete(&self, leases: &[Lease]) -> Result<(), ClientError> {
        let request = ReportRequest {
            protocol: PROTOCOL,
            reports: leases.iter().map(completed).collect(),
            ..ReportRequest::default()
        };
        let _: ReportReply = self.client.post(&format!("/api/v1/agents/{}/report", self.id), &request).await?;
        Ok(())
    }

    /// One call that does all, as where nobody parks: reports what `done` holds as completed, lives, and claims.
    pub async fn poll(&mut self, free_slots: u32, done: &[Lease]) -> Polled {
        (self.beats, self.claims) = (self.beats + 1, self.claims + 1);
        let request = HeartbeatRequest {
            protocol: PROTOCOL,
            seq: self.beats,
            last_claim: self.claims - 1,
            reports: done.iter().map(completed).collect(),
            claim: Some(Claim { claim: self.claims, free_slots, free_requests: 0 }),
            ..HeartbeatRequest::default()
        };
        let reply: HeartbeatReply =
            self.client.post(&format!("/api/v1/agents/{}/heartbeat", self.id), &request).await.unwrap();
        Polled { leases: reply.leases, pause: Duration::from_millis(reply.next_heartbeat_ms) }
    }

    /// A heartbeat of an agent that holds nothing.
    pub async fn beat(&mut self) {
        self.try_beat().await.unwrap();
    }

    async fn try_beat(&mut self) -> Result<(), ClientError> {
        self.beats += 1;
        let request = HeartbeatRequest {
            protocol: PROTOCOL,
            seq: self.beats,
            last_claim: self.claims,
            ..HeartbeatRequest::default()
        };
        let _: HeartbeatReply = self.client.post(&format!("/api/v1/agents/{}/heartbeat", self.id), &request).await?;
        Ok(())
    }
}

/// Reports for an agent.
#[derive(Debug)]
pub struct Speaker {
    id: AgentId,
    /// Calls the coordinator as the agent.
    pub client: Client,
}

impl Speaker {
    /// A heartbeat of an agent that holds these. It names no claim: one whose reply is on its way must not count as read.
    pub async fn beat(&self, seq: u64, leases: Vec<HeldLease>) {
        let request = HeartbeatRequest { protocol: PROTOCOL, seq, leases, ..HeartbeatRequest::default() };
        let _: HeartbeatReply =
            self.client.post(&format!("/api/v1/agents/{}/heartbeat", self.id), &request).await.unwrap();
    }

    /// Reports one thing.
    pub async fn report(&self, lease: &HeldLease, event: Happening) {
        let request = ReportRequest {
            protocol: PROTOCOL,
            reports: vec![Report::new(lease.clone(), event)],
            ..ReportRequest::default()
        };
        let _: ReportReply = self.client.post(&format!("/api/v1/agents/{}/report", self.id), &request).await.unwrap();
    }
}

/// The report of an attempt that has completed.
#[must_use]
pub fn completed(l: &Lease) -> Report {
    let lease = l.held();
    Report::new(lease, Happening::Completed { result: None, message: None, usage: None })
}

/// Waits up to 200 ms after the first failure, twice as long after each further one, and up to 15 s.
async fn pause(error: &ClientError, failures: &mut u32) {
    assert!(error.is_transient(), "{error}");
    let asked_for = match error {
        ClientError::Refused { retry_after, .. } => retry_after.unwrap_or_default(),
        _ => Duration::ZERO,
    };
    let most = Duration::from_millis(200 << *failures).min(Duration::from_secs(15));
    *failures = (*failures + 1).min(10);
    let random = RandomState::new().build_hasher().finish() % 1_024;
    sleep(asked_for + most * u32::try_from(random).unwrap_or(0) / 1_024).await;
}

fn proof(pair: &Ed25519KeyPair, joined: &JoinReply) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let header = json!({ "alg": "EdDSA", "typ": "titan-proof+jwt" });
    let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, joined.credential.as_bytes()));
    let claims = json!({
        "sub": joined.agent_id, "aud": "titan-coordinator/register", "jti": "run-1", "iat": now,
        "credential_sha256": hash,
    });
    let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}
