//! An agent as the tests play it: a key pair, a credential and a token.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::{Value, json};

use crate::world::{ADMIN, Reply, World, request, send};

/// An Ed25519 key that signs tokens with an independent library.
pub(crate) struct Signer {
    key: EncodingKey,
    pub(crate) public: String,
}

impl Signer {
    pub(crate) fn new() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let pkcs8 = pair.to_pkcs8().unwrap();
        let public = URL_SAFE_NO_PAD.encode(pair.public_key());
        Self { key: EncodingKey::from_ed_der(pkcs8.as_ref()), public }
    }

    pub(crate) fn sign<C: Serialize>(&self, typ: &str, claims: &C) -> String {
        let header = Header { typ: Some(typ.to_owned()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }

    /// A proof of possession for a registration with a credential.
    pub(crate) fn proof(&self, credential: &str, agent: &str, instance: &str, iat: i64) -> String {
        let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, credential.as_bytes()));
        self.sign(
            "titan-proof+jwt",
            &json!({
                "sub": agent, "aud": "titan-coordinator/register", "jti": instance, "iat": iat,
                "credential_sha256": hash,
            }),
        )
    }
}

/// Seconds since the epoch; here the coordinator and Redis run on this machine's clock.
#[expect(clippy::disallowed_methods, reason = "an agent's clock is its box's")]
pub(crate) fn now_s() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// A registered agent.
pub(crate) struct TestAgent {
    pub(crate) id: String,
    pub(crate) signer: Signer,
    pub(crate) credential: String,
    pub(crate) token: String,
    claim: u64,
    seq: u64,
    facts: Value,
}

impl TestAgent {
    /// Joins and registers under an id.
    pub(crate) async fn register(world: &World, id: &str) -> Self {
        Self::register_with(world, id, facts()).await
    }

    /// The same as a box with these facts.
    pub(crate) async fn register_with(world: &World, id: &str, facts: Value) -> Self {
        let signer = Signer::new();
        let token = world.join_token(1).await;
        let wish = json!({"protocol": 1, "public_key": signer.public, "agent_id": id});
        let joined = world.post(&token, "/api/v1/agents/join", wish).await.ok(200);
        let credential = joined["credential"].as_str().unwrap().to_owned();
        let mut agent = Self { id: id.to_owned(), signer, credential, token: String::new(), claim: 0, seq: 0, facts };
        let registered = agent.register_as(world, "run-1").await.ok(200);
        registered["token"]["token"].as_str().unwrap().clone_into(&mut agent.token);
        agent
    }

    /// Registers a run.
    pub(crate) async fn register_as(&self, world: &World, instance: &str) -> Reply {
        let body = self.registration(instance, &self.proof(instance, now_s()));
        world.post("", "/api/v1/agents/register", body).await
    }

    /// A proof of this agent's own, for a run of it.
    pub(crate) fn proof(&self, instance: &str, iat: i64) -> String {
        self.signer.proof(&self.credential, &self.id, instance, iat)
    }

    pub(crate) fn registration(&self, instance: &str, proof: &str) -> Value {
        json!({"protocol": 1, "credential": self.credential, "proof": proof, "instance_id": instance, "facts": self.facts})
    }

    pub(crate) fn path(&self, verb: &str) -> String {
        format!("/api/v1/agents/{}/{verb}", self.id)
    }

    pub(crate) async fn heartbeat(&mut self, world: &World, more: Value) -> Reply {
        self.seq += 1;
        let mut body = json!({"protocol": 1, "seq": self.seq, "last_claim": self.claim, "measures": measures()});
        merge(&mut body, more);
        world.post(&self.token, &self.path("heartbeat"), body).await
    }

    /// Claims with the next number.
    pub(crate) async fn claim(&mut self, world: &World, wait_ms: u64) -> Reply {
        self.claim += 1;
        let body =
            json!({"protocol": 1, "claim": self.claim, "free_slots": 4, "wait_ms": wait_ms, "measures": measures()});
        world.post(&self.token, &self.path("claim"), body).await
    }

    /// Parks a claim for requests to models, which nobody waits for.
    pub(crate) async fn park_for_requests(&mut self, world: &World) {
        self.claim += 1;
        let body = json!({"protocol": 1, "claim": self.claim, "free_slots": 0, "free_requests": 64, "wait_ms": 20_000});
        let (router, request) = (world.router.clone(), request("POST", &self.token, &self.path("claim"), Some(body)));
        tokio::spawn(async move { send(&router, request).await });
        // It is at hand once it would be chosen.
        let model = self.facts["models"][0]["name"].clone();
        let wish = json!({"model": model, "client_id": "nobody"});
        let chosen = async || world.post(ADMIN, "/api/v1/inference/request", wish.clone()).await.ok(200);
        while chosen().await["agent_id"].is_null() {
            tokio::task::yield_now().await;
        }
    }

    /// Claims requests to models with the next number.
    pub(crate) async fn claim_requests(&mut self, world: &World, wait_ms: u64) -> Reply {
        self.claim += 1;
        let body = json!({"protocol": 1, "claim": self.claim, "free_slots": 0, "free_requests": 8, "wait_ms": wait_ms});
        world.post(&self.token, &self.path("claim"), body).await
    }

    /// Reports of one attempt.
    pub(crate) async fn report(&self, world: &World, lease: &Value, events: Vec<Value>) -> Reply {
        let reports: Vec<Value> = events.into_iter().map(|event| report(lease, event)).collect();
        world.post(&self.token, &self.path("report"), json!({"protocol": 1, "reports": reports})).await
    }
}

/// One report about a lease.
pub(crate) fn report(lease: &Value, mut event: Value) -> Value {
    merge(&mut event, held(lease));
    event
}

/// A lease as reports and heartbeats name it.
pub(crate) fn held(lease: &Value) -> Value {
    json!({"job_id": lease["job_id"], "attempt": lease["attempt"], "lease_id": lease["lease_id"]})
}

pub(crate) fn output(offset: u64, stream: &str, data: &str) -> Value {
    json!({"type": "output", "offset": offset, "stream": stream, "data": data})
}

pub(crate) fn facts() -> Value {
    json!({
        "hostname": "box", "os": "linux", "arch": "x86_64", "cpus": 8, "ram_mb": 16_000, "accepts_processes": true,
        "max_jobs": 4, "version": "0.1.0",
    })
}

fn measures() -> Value {
    json!({"ram_free_mb": 12_000, "cpu_load": 0.1, "rtt_ms": 1.5})
}

fn merge(into: &mut Value, more: Value) {
    if let (Some(into), Value::Object(more)) = (into.as_object_mut(), more) {
        into.extend(more);
    }
}
