//! Redis away: everything says so within a second, and works again by itself.

use std::time::{Duration, Instant};

use axum::Router;
use serde_json::json;
use titan_api::problem::ProblemType;
use titan_coordinator::{AppState, router};

use crate::{
    agent::TestAgent,
    redis_server::free_port,
    world::{ADMIN, PATIENCE, REDIS_TIMEOUT, World, job, request, send, settings},
};

/// How long an answer may take: a second, and what a busy machine needs besides.
const SOON: Duration = Duration::from_secs(5);
/// What coordinators have where nobody says otherwise.
const USUAL: &[&str] = &[REDIS_TIMEOUT, "700ms"];

async fn says_so_soon(router: &Router, method: &str, bearer: &str, path: &str, body: Option<serde_json::Value>) {
    let began = Instant::now();
    send(router, request(method, bearer, path, body)).await.problem(ProblemType::StoreUnavailable);
    assert!(began.elapsed() < SOON, "{method} {path} took {:?}", began.elapsed());
}

#[tokio::test]
async fn a_coordinator_starts_without_redis_and_says_so() {
    let url = format!("redis://127.0.0.1:{}", free_port());
    let router = router(AppState::new(settings(&url, USUAL)).unwrap());
    send(&router, request("GET", "", "/api/v1/health", None)).await.ok(200);
    let began = Instant::now();
    let ready = send(&router, request("GET", "", "/api/v1/ready", None)).await.ok(503);
    assert_eq!(ready["ready"], false);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    says_so_soon(&router, "POST", ADMIN, "/api/v1/jobs", Some(job(&["true"]))).await;
    says_so_soon(&router, "GET", ADMIN, "/api/v1/jobs/x?wait_ms=20000", None).await;
    let key = format!("titan_0123456789abcdef_{}", "A".repeat(43));
    says_so_soon(&router, "GET", &key, "/api/v1/jobs", None).await;
}

#[tokio::test]
async fn an_outage_of_redis_is_told_within_a_second_and_ends_by_itself() {
    let mut world = World::with(USUAL).await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let id = world.submit(ADMIN).await;
    world.redis.kill();
    let unsure = world.post(ADMIN, "/api/v1/jobs", job(&["true"])).await.problem(ProblemType::StoreUnavailable);
    let detail = unsure.detail.unwrap();
    assert!(detail.contains("may have been accepted") && !detail.contains("harmless"), "{detail}");
    let beat = json!({"protocol": 1, "seq": 9, "last_claim": 0});
    for _ in 0..3 {
        says_so_soon(&world.router, "POST", ADMIN, "/api/v1/jobs", Some(job(&["true"]))).await;
        says_so_soon(&world.router, "GET", ADMIN, &format!("/api/v1/jobs/{id}/output"), None).await;
        says_so_soon(&world.router, "POST", &agent.token, &agent.path("heartbeat"), Some(beat.clone())).await;
        world.get("", "/api/v1/ready").await.ok(503);
    }
    world.redis.restart().await;
    let give_up = Instant::now() + PATIENCE;
    while world.get("", "/api/v1/ready").await.status != 200 {
        assert!(Instant::now() < give_up, "it is not ready again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.get(ADMIN, &format!("/api/v1/jobs/{id}")).await.ok(200);
    agent.heartbeat(&world, json!({})).await.ok(200);
    let leases = agent.claim(&world, 5_000).await.ok(200)["leases"].clone();
    assert_eq!(leases[0]["job_id"].as_str(), Some(id.as_str()), "what was acknowledged is still there");
}

#[tokio::test]
async fn a_parked_claim_outlives_an_outage_of_redis() {
    let mut world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let router = world.router.clone();
    let claim = json!({"protocol": 1, "claim": 1, "free_slots": 1, "wait_ms": 15_000});
    let parked = request("POST", &agent.token, &agent.path("claim"), Some(claim));
    let parked = tokio::spawn(async move { send(&router, parked).await });
    while agent.heartbeat(&world, json!({})).await.status != 200 {}
    world.redis.kill();
    world.redis.restart().await;
    let give_up = Instant::now() + PATIENCE;
    let submitted = loop {
        let reply = world.post(ADMIN, "/api/v1/jobs", job(&["true"])).await;
        if reply.status == 202 {
            break reply.ok(202);
        }
        assert!(Instant::now() < give_up, "{}", reply.body);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let reply = parked.await.unwrap();
    if reply.status == 503 {
        // It looked while Redis was away; an agent then claims again, under the same number.
        reply.problem(ProblemType::StoreUnavailable);
        let again = json!({"protocol": 1, "claim": 1, "free_slots": 1, "wait_ms": 5_000});
        let leases = world.post(&agent.token, &agent.path("claim"), again).await.ok(200)["leases"].clone();
        assert_eq!(leases[0]["job_id"], submitted["id"]);
    } else {
        assert_eq!(reply.ok(200)["leases"][0]["job_id"], submitted["id"]);
    }
}

#[tokio::test]
async fn a_redis_that_hangs_is_told_within_a_second_too() {
    let world = World::with(USUAL).await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let key = world.key("default", &["jobs:write"]).await;
    world.redis.signal("-STOP");
    let beat = json!({"protocol": 1, "seq": 9, "last_claim": 0, "claim": {"claim": 1, "free_slots": 1}});
    says_so_soon(&world.router, "POST", ADMIN, "/api/v1/jobs", Some(job(&["true"]))).await;
    says_so_soon(&world.router, "POST", &key, "/api/v1/jobs", Some(job(&["true"]))).await;
    says_so_soon(&world.router, "POST", &agent.token, &agent.path("heartbeat"), Some(beat)).await;
    let began = Instant::now();
    world.get("", "/api/v1/ready").await.ok(503);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    world.redis.signal("-CONT");
    let give_up = Instant::now() + PATIENCE;
    while agent.heartbeat(&world, json!({})).await.status != 200 {
        assert!(Instant::now() < give_up, "it does not come back");
    }
}

#[tokio::test]
async fn a_redis_that_hangs_is_told_to_all_at_once_however_many_submit_the_same() {
    let world = World::with(&[USUAL, &["--rate-limit-requests", "off", "--rate-limit-bytes", "off"]].concat()).await;
    let key = world.key("default", &["jobs:write"]).await;
    // What is known of the key, and of the pool's classes.
    world.submit(&key).await;
    let of_new_class = || {
        let mut job = job(&["true"]);
        job["requirements"] = json!({"agent_labels": {"zone": "new"}});
        job
    };
    world.redis.signal("-STOP");
    for body in [of_new_class(), job(&["true"])] {
        // One after the other they would take more than twice as long as this.
        let submitting = (0..16).map(|_| says_so_soon(&world.router, "POST", &key, "/api/v1/jobs", Some(body.clone())));
        futures_util::future::join_all(submitting).await;
    }
    world.redis.signal("-CONT");
}

#[tokio::test]
async fn work_that_no_replica_has_is_told_with_the_ids_of_its_jobs() {
    // This Redis has no replica.
    let world = World::with(&["--durability", "replicated", REDIS_TIMEOUT, "700ms"]).await;
    let submit = async || {
        let mut request = request("POST", ADMIN, "/api/v1/jobs", Some(job(&["true"])));
        request.headers_mut().insert("idempotency-key", "order-1".parse().unwrap());
        world.send(request).await.problem(ProblemType::NotReplicated).job_ids
    };
    let began = Instant::now();
    let first = submit().await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(submit().await, first);
    let batch = json!({"jobs": [job(&["true"]), job(&["false"])]});
    let batch = world.post(ADMIN, "/api/v1/jobs/batch", batch).await.problem(ProblemType::NotReplicated);
    let listed = world.get(ADMIN, "/api/v1/jobs").await.ok(200);
    assert_eq!((first.len(), batch.job_ids.len(), listed["jobs"].as_array().unwrap().len()), (1, 2, 3));
    let key = world.post(ADMIN, "/api/v1/keys", json!({"name": "k", "scopes": ["jobs:read"]})).await;
    let told = key.problem(ProblemType::NotReplicated);
    assert!(told.job_ids.is_empty() && told.detail.unwrap().contains("delete it"), "the key may be there");
}
