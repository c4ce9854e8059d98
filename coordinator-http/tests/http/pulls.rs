//! Having an agent pull a model: who hears of it, what it becomes, and that it looks like no model to anybody.

use serde_json::{Value, json};
use titan_api::problem::ProblemType;

use crate::{
    agent::{TestAgent, facts, held, output},
    world::{ADMIN, World},
};

const PULL: &str = "/api/v1/models/pull";

/// An agent that serves `llama`, and would pull two models at once.
pub(crate) async fn pulling(world: &World, id: &str) -> TestAgent {
    let mut facts = facts();
    facts["accepts_processes"] = json!(false);
    facts["models"] = models();
    let mut agent = TestAgent::register_with(world, id, facts).await;
    agent.heartbeat(world, json!({"models": models(), "pulls": 2})).await.ok(200);
    agent
}

fn models() -> Value {
    json!([{"name": "llama", "parallel": 4, "loaded": true, "backend": "ollama"}])
}

fn wish(agent: &str) -> Value {
    json!({"model": "new:1b", "agent_id": agent})
}

#[tokio::test]
async fn the_agent_that_was_named_pulls_and_nobody_else() {
    let world = World::start().await;
    let (mut other, mut agent) = (pulling(&world, "other").await, pulling(&world, "box").await);
    let key = world.key("default", &["agents:write", "jobs:read", "jobs:write"]).await;
    let reply = world.post(&key, PULL, wish("box")).await;
    let id = reply.ok(202)["id"].as_str().unwrap().to_owned();
    assert_eq!(reply.headers["location"], format!("/api/v1/jobs/{id}"));
    assert_eq!(other.claim_requests(&world, 0).await.ok(200)["leases"], json!([]));
    let lease = agent.claim_requests(&world, 1_000).await.ok(200)["leases"][0].clone();
    assert_eq!((&lease["job_id"], &lease["inference"]["route"]), (&json!(id), &json!("pull")));
    assert_eq!(lease["inference"]["body"], r#"{"model":"new:1b"}"#);
    let line = "{\"status\":\"success\"}\n";
    let events = vec![json!({"type": "started"}), output(0, "stdout", line), json!({"type": "completed"})];
    agent.report(&world, &held(&lease), events).await.ok(200);
    let job = world.get(&key, &format!("/api/v1/jobs/{id}")).await.ok(200);
    assert_eq!((&job["state"], &job["agent_id"]), (&json!("completed"), &json!("box")));
    let written = world.get(&key, &format!("/api/v1/jobs/{id}/output")).await.ok(200);
    assert_eq!(written["chunks"][0]["data"], line);
    let listed = world.get(&key, "/api/v1/jobs").await.ok(200);
    assert_eq!(listed["jobs"][0]["command"], "pull new:1b");
    // Only who asked reads it, as with every request to a model.
    let reader = world.key("default", &["jobs:read"]).await;
    world.get(&reader, &format!("/api/v1/jobs/{id}/output")).await.problem(ProblemType::Forbidden);
}

#[tokio::test]
async fn a_repeated_pull_is_the_same_one_and_a_cancelled_one_is_told_to_its_agent() {
    let world = World::start().await;
    let mut agent = pulling(&world, "box").await;
    let again = async || {
        let mut request = crate::world::request("POST", ADMIN, PULL, Some(wish("box")));
        request.headers_mut().insert("idempotency-key", "once".parse().unwrap());
        world.send(request).await
    };
    let (first, second) = (again().await.ok(202), again().await.ok(202));
    assert_eq!(first["id"], second["id"]);
    let lease = agent.claim_requests(&world, 1_000).await.ok(200)["leases"][0].clone();
    let id = first["id"].as_str().unwrap();
    assert_eq!(world.post(ADMIN, &format!("/api/v1/jobs/{id}/cancel"), json!({})).await.ok(200)["cancelling"], true);
    let told = agent.heartbeat(&world, json!({"leases": [held(&lease)]})).await.ok(200);
    assert_eq!(told["cancel"], json!([id]));
    agent.report(&world, &held(&lease), vec![json!({"type": "cancelled"})]).await.ok(200);
    assert_eq!(world.get(ADMIN, &format!("/api/v1/jobs/{id}")).await.ok(200)["state"], "cancelled");
}

#[tokio::test]
async fn what_cannot_be_pulled_is_refused_with_the_reason_and_changes_nothing() {
    let world = World::start().await;
    let mut agent = pulling(&world, "box").await;
    let mut plain = TestAgent::register(&world, "plain").await;
    plain.heartbeat(&world, json!({})).await.ok(200);
    let elsewhere = world.key("other", &["agents:write"]).await;
    let before = world.pool_dump().await.len();
    let detail = async |bearer: &str, wish: Value, kind| {
        let problem = world.post(bearer, PULL, wish).await.problem(kind);
        problem.detail.unwrap_or_default()
    };
    assert!(detail(ADMIN, wish("none"), ProblemType::NotFound).await.contains("no agent none"));
    assert!(detail(&elsewhere, wish("box"), ProblemType::NotFound).await.contains("no agent box"));
    let cannot = detail(ADMIN, wish("plain"), ProblemType::Conflict).await;
    assert!(cannot.contains("cannot pull models") && cannot.contains("policy"), "{cannot}");
    for wrong in [json!({"model": "", "agent_id": "box"}), json!({"model": "pull@box", "agent_id": "box"})] {
        detail(ADMIN, wrong, ProblemType::Invalid).await;
    }
    detail(ADMIN, json!({"model": "a", "agent_id": "b c"}), ProblemType::Invalid).await;
    detail(ADMIN, json!({"model": "a"}), ProblemType::Invalid).await;
    assert_eq!(world.pool_dump().await.len(), before);
    world.post(ADMIN, "/api/v1/agents/box/drain", json!({})).await.ok(200);
    assert!(detail(ADMIN, wish("box"), ProblemType::Conflict).await.contains("drained"));
    world.post(ADMIN, "/api/v1/agents/box/resume", json!({})).await.ok(200);
    // Its Ollama is gone, or its operator has changed the policy.
    agent.heartbeat(&world, json!({"models": models(), "pulls": 0})).await.ok(200);
    assert!(detail(ADMIN, wish("box"), ProblemType::Conflict).await.contains("cannot pull models"));
}

#[tokio::test]
async fn pulling_looks_like_no_model_and_nobody_can_ask_for_it_as_one() {
    let world = World::start().await;
    let mut agent = pulling(&world, "box").await;
    for list in
        ["/api/v1/models", "/v1/models", "/api/v1/agents", "/api/v1/agents/box", "/api/v1/status?include_agents=true"]
    {
        let text = world.get(ADMIN, list).await.ok(200).to_string();
        assert!(!text.contains("pull@") && (text.contains("llama") || list.contains("status")), "{list}: {text}");
    }
    let asked = json!({
        "model": "llama", "route": "pull", "body": "{\"model\":\"x\"}", "first_token_timeout_ms": 1, "token_timeout_ms": 1,
        "load_timeout_ms": 1,
    });
    let mut named = asked.clone();
    (named["model"], named["route"]) = (json!("pull@box"), json!("chat_completions"));
    for wrong in [asked, named] {
        world
            .post(ADMIN, "/api/v1/jobs", json!({"kind": "inference", "inference": wrong}))
            .await
            .problem(ProblemType::Invalid);
    }
    let chat = json!({"model": "pull@box", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(world.post(ADMIN, "/v1/chat/completions", chat).await.status, 400);
    world.post(ADMIN, "/api/v1/inference/request", json!({"model": "pull@box"})).await.problem(ProblemType::Invalid);
    let aliases = json!({"aliases": {"chat": ["pull@box"]}});
    world.call("PUT", ADMIN, "/api/v1/models/aliases", Some(aliases)).await.problem(ProblemType::Invalid);
    // No agent passes for another one, nor for one that would pull without end.
    let other = json!({"models": [{"name": "pull@other", "parallel": 1}]});
    agent.heartbeat(&world, other).await.problem(ProblemType::Invalid);
    agent.heartbeat(&world, json!({"models": models(), "pulls": 17})).await.problem(ProblemType::Invalid);
    // What a pull takes is no use of a model.
    world.post(ADMIN, PULL, wish("box")).await.ok(202);
    let lease = agent.claim_requests(&world, 1_000).await.ok(200)["leases"][0].clone();
    agent.report(&world, &held(&lease), vec![json!({"type": "started"}), json!({"type": "completed"})]).await.ok(200);
    assert_eq!(world.get(ADMIN, "/api/v1/usage").await.ok(200), json!({"models": []}));
    let shown = world.get(ADMIN, "/api/v1/agents/box").await.ok(200).to_string();
    assert!(!shown.contains("pull@"), "{shown}");
}
