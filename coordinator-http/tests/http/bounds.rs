//! What one caller can draw out of a coordinator, or see of another.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use axum::body::{Body, Bytes};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use titan_api::{limits::PROMPT_BYTES, problem::ProblemType};
use tokio::task::JoinSet;

use crate::{
    agent::{TestAgent, held},
    world::{ADMIN, World, request, send},
};

async fn channels(world: &World) -> Vec<String> {
    let client = redis::Client::open(world.redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("PUBSUB").arg("CHANNELS").query_async(&mut connection).await.unwrap()
}

#[tokio::test]
async fn values_that_may_be_secret_are_shown_to_who_submitted_them_and_to_the_administrator() {
    let world = World::start().await;
    let scopes = ["jobs:write", "jobs:read"];
    let (own, other) = (world.key("default", &scopes).await, world.key("default", &scopes).await);
    let process =
        json!({"command": ["true"], "env": {"TOKEN": "hunter2"}, "secret_env": {"KEY": "hunter4"}, "stdin": "hunter3"});
    let job = json!({"kind": "process", "process": process, "allow_unserved": true});
    let made = world.post(&own, "/api/v1/jobs", job).await.ok(202);
    let path = format!("/api/v1/jobs/{}", made["id"].as_str().unwrap());
    for bearer in [own.as_str(), ADMIN] {
        let seen = world.get(bearer, &path).await.ok(200);
        assert_eq!(
            (&seen["process"]["env"]["TOKEN"], &seen["process"]["stdin"]),
            (&json!("hunter2"), &json!("hunter3"))
        );
        assert_eq!(seen["process"]["secret_env"], json!({"KEY": "***"}));
        assert!(own.contains(seen["submitted_by"].as_str().unwrap()));
    }
    let seen = world.get(&other, &path).await.ok(200);
    assert_eq!(seen["process"]["command"], json!(["true"]), "what a job is, everybody of the pool may know");
    assert_eq!((&seen["process"]["env"], &seen["process"]["stdin"]), (&json!({"TOKEN": "***"}), &json!("***")));
    assert_eq!(seen["process"]["secret_env"], json!({"KEY": "***"}));
}

#[tokio::test]
async fn waiting_for_a_job_that_does_not_exist_ends_at_once_and_leaves_no_channel() {
    let world = World::start().await;
    let began = Instant::now();
    for path in ["/api/v1/jobs/none?wait_ms=20000", "/api/v1/jobs/none/output?wait_ms=20000"] {
        world.get(ADMIN, path).await.problem(ProblemType::NotFound);
    }
    let mut stream = request("GET", ADMIN, "/api/v1/jobs/none/output", None);
    stream.headers_mut().insert("accept", "text/event-stream".parse().unwrap());
    world.send(stream).await.problem(ProblemType::NotFound);
    assert!(began.elapsed() < Duration::from_secs(15));
    assert_eq!(channels(&world).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_newer_claim_of_an_agent_ends_its_oldest() {
    let world = World::start().await;
    let agent = TestAgent::register(&world, "box-1").await;
    let began = Instant::now();
    let claim = |number: u64| {
        let body = json!({"protocol": 1, "claim": number, "free_slots": 1, "wait_ms": 20_000});
        let (router, claim) = (world.router.clone(), request("POST", &agent.token, &agent.path("claim"), Some(body)));
        tokio::spawn(async move { send(&router, claim).await })
    };
    let first = claim(1);
    while channels(&world).await.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(10), "the first claim does not park");
    }
    let (second, third) = (claim(2), claim(3));
    assert_eq!(first.await.unwrap().ok(200)["leases"], json!([]));
    assert!(began.elapsed() < Duration::from_secs(15), "the first claim waited until its end");
    assert!(!second.is_finished() && !third.is_finished());
    world.state.closing().cancel();
    second.await.unwrap().ok(200);
    third.await.unwrap().ok(200);
}

#[tokio::test]
async fn an_agent_that_holds_attempts_is_heard_four_times_in_a_lease() {
    let world = World::with(&["--parking", "off", "--idle-poll-ms", "3600000"]).await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let idle = agent.heartbeat(&world, json!({})).await.ok(200)["next_heartbeat_ms"].as_u64().unwrap();
    assert!(idle > 15_000, "{idle}");
    let lease = json!({"job_id": "job-1", "attempt": 1, "lease_id": "lease-1"});
    let beat = agent.heartbeat(&world, json!({"leases": [held(&lease)]})).await.ok(200);
    assert!(beat["next_heartbeat_ms"].as_u64().unwrap() <= 15_000, "{beat}");
}

#[tokio::test]
async fn only_the_administrator_and_the_log_are_told_why_a_check_failed() {
    let mut world = World::start().await;
    world.redis.kill();
    let told = |ready: &Value| {
        let failed = ready["checks"].as_array().unwrap().iter().filter(|check| check["verdict"] == "failed");
        failed.map(|check| check["detail"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join("; ")
    };
    let anybody = told(&world.get("", "/api/v1/ready").await.ok(503));
    assert!(anybody.contains("administrator") && !anybody.contains("Redis is unavailable"), "{anybody}");
    let admin = told(&world.get(ADMIN, "/api/v1/ready").await.ok(503));
    assert!(admin.contains("Redis is unavailable") || admin.contains("0.9 s"), "{admin}");
}

#[tokio::test]
async fn a_body_of_somebody_unknown_may_be_short_only() {
    let world = World::start().await;
    let long = json!({"protocol": 1, "public_key": "A".repeat(5_000)});
    let token = world.join_token(1).await;
    world.post(&token, "/api/v1/agents/join", long).await.problem(ProblemType::TooLarge);
    let long = json!({"protocol": 1, "credential": "A".repeat(132_000)});
    world.post("", "/api/v1/agents/register", long).await.problem(ProblemType::TooLarge);
}

#[tokio::test]
async fn a_key_whose_long_bodies_do_not_end_keeps_no_heartbeat_out() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let key = world.key("default", &["inference"]).await;
    let most = Bytes::from(vec![b' '; PROMPT_BYTES - 1]);
    let mut asking = JoinSet::new();
    for _ in 0..40 {
        let parts = stream::iter([Ok::<_, Infallible>(most.clone())]).chain(stream::pending());
        let mut asked = request("POST", &key, "/v1/chat/completions", Some(json!({})));
        *asked.body_mut() = Body::from_stream(parts);
        let router = world.router.clone();
        asking.spawn(async move { send(&router, asked).await });
    }
    let refused = asking.join_next().await.unwrap().unwrap();
    assert_eq!(refused.status, 503, "{}", refused.body);
    agent.heartbeat(&world, json!({})).await.ok(200);
}
