//! Reports that bring the next work in the same call.

use serde_json::{Value, json};

use crate::{
    agent::{TestAgent, facts, report},
    world::{ADMIN, Reply, World},
};

/// Reports a lease as completed, and claims what takes its place.
async fn complete_and_claim(world: &World, agent: &TestAgent, lease: &Value, claim: u64) -> Reply {
    let reports = [report(lease, json!({"type": "completed"}))];
    let body = json!({"protocol": 1, "reports": reports, "claim": {"claim": claim, "free_slots": 1}});
    world.post(&agent.token, &agent.path("report"), body).await
}

/// A box with one slot.
async fn small(world: &World) -> TestAgent {
    let mut facts = facts();
    facts["max_jobs"] = json!(1);
    TestAgent::register_with(world, "box-1", facts).await
}

#[tokio::test]
async fn the_report_of_an_end_brings_the_next_job_as_a_claim_would() {
    let world = World::start().await;
    let mut agent = small(&world).await;
    let first = world.submit(ADMIN).await;
    let lease = agent.claim(&world, 5_000).await.ok(200)["leases"][0].clone();
    assert_eq!(lease["job_id"], first.as_str());
    let second = world.submit(ADMIN).await;
    let reply = complete_and_claim(&world, &agent, &lease, 2).await.ok(200);
    assert_eq!(reply["answers"], json!([{"status": "accepted"}]));
    assert_eq!(reply["leases"][0]["job_id"], second.as_str());
    // Under its number it comes again, with reports or without.
    let body = json!({"protocol": 1, "claim": 2, "free_slots": 1, "wait_ms": 0});
    let alone = world.post(&agent.token, &agent.path("claim"), body).await.ok(200);
    assert_eq!(alone["leases"], reply["leases"]);
    assert_eq!(complete_and_claim(&world, &agent, &lease, 2).await.ok(200)["leases"], reply["leases"]);
    // What was overtaken brings nothing.
    assert_eq!(complete_and_claim(&world, &agent, &lease, 1).await.ok(200)["leases"], json!([]));
}

#[tokio::test]
async fn a_claim_with_reports_is_answered_at_once_and_a_report_without_one_has_no_leases() {
    let world = World::start().await;
    let mut agent = small(&world).await;
    world.submit(ADMIN).await;
    let lease = agent.claim(&world, 5_000).await.ok(200)["leases"][0].clone();
    let reply = complete_and_claim(&world, &agent, &lease, 2).await.ok(200);
    assert_eq!(reply["leases"], json!([]));
    let reply = agent.report(&world, &lease, vec![json!({"type": "completed"})]).await.ok(200);
    assert_eq!(reply.get("leases"), None);
}

#[tokio::test]
async fn a_claim_stands_though_no_report_beside_it_is_good() {
    let world = World::start().await;
    let mut agent = small(&world).await;
    world.submit(ADMIN).await;
    let lease = agent.claim(&world, 5_000).await.ok(200)["leases"][0].clone();
    agent.report(&world, &lease, vec![json!({"type": "completed"})]).await.ok(200);
    let waiting = world.submit(ADMIN).await;
    let wrong = report(&lease, json!({"type": "completed", "receipt": "none"}));
    let body = json!({"protocol": 1, "reports": [wrong], "claim": {"claim": 2, "free_slots": 1}});
    let reply = world.post(&agent.token, &agent.path("report"), body).await.ok(200);
    assert_eq!(reply["answers"], json!([{"status": "invalid"}]));
    assert_eq!(reply["leases"][0]["job_id"], waiting.as_str());
}
