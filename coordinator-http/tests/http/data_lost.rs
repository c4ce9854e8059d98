//! A Redis that has lost its data while work was running: the coordinator says so, and is quiet about what is ordinary.

use serde_json::{Value, json};

use crate::{
    agent::{TestAgent, held, now_s},
    log::Log,
    world::{ADMIN, Reply, World},
};

const LOST: &str = "an agent runs attempts that Redis does not know: Redis has lost data";

/// Registers a run that has taken these attempts over.
async fn register_with(world: &World, agent: &TestAgent, instance: &str, running: &[Value]) -> Reply {
    let mut body = agent.registration(instance, &agent.proof(instance, now_s()));
    body["running"] = json!(running);
    world.post("", "/api/v1/agents/register", body).await
}

async fn counted(world: &World) -> String {
    let page = world.get(ADMIN, "/metrics").await.body;
    page.lines().find_map(|line| line.strip_prefix("titan_attempts_lost_total ")).expect("it is counted").to_owned()
}

async fn told(world: &World) -> Vec<Value> {
    let events = world.get(ADMIN, "/api/v1/events?topic=agent.attempts_lost&after=0").await.ok(200);
    events["events"].as_array().unwrap().iter().map(|event| event["payload"].clone()).collect()
}

#[tokio::test]
async fn attempts_that_an_emptied_redis_does_not_know_are_warned_of_told_and_counted() {
    let log = Log::at("warn");
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    world.submit(ADMIN).await;
    let lease = held(&agent.claim(&world, 5_000).await.ok(200)["leases"][0]);
    world.redis.command(&["FLUSHALL"]).await;
    let registered = register_with(&world, &agent, "run-1", std::slice::from_ref(&lease)).await.ok(200);
    assert_eq!(registered["stop"], json!([lease]));
    // A repeat, as after a lost reply, is no second loss.
    register_with(&world, &agent, "run-1", std::slice::from_ref(&lease)).await.ok(200);
    let lines = log.of(LOST);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = &lines[0];
    assert_eq!((&line["agent.id"], &line["pool"], &line["attempts"]), (&"box-1".into(), &"default".into(), &1.into()));
    let advice = line["advice"].as_str().unwrap();
    assert!(advice.contains("the agent ends them") && advice.contains("Idempotency-Key"), "{advice}");
    assert_eq!(told(&world).await, [json!({"agent_id": "box-1", "attempts": 1})]);
    assert_eq!(counted(&world).await, "1");
}

#[tokio::test]
async fn a_whole_pool_that_comes_back_at_once_is_counted_and_gets_few_lines() {
    let log = Log::at("warn");
    let world = World::start().await;
    let mut agents = Vec::new();
    for number in 0..15 {
        agents.push(TestAgent::register(&world, &format!("box-{number}")).await);
    }
    world.redis.command(&["FLUSHALL"]).await;
    for (number, agent) in agents.iter().enumerate() {
        let lease = json!({"job_id": format!("job-{number}"), "attempt": 1, "lease_id": "one"});
        register_with(&world, agent, "run-1", &[lease]).await.ok(200);
    }
    let lines = log.of(LOST);
    assert_eq!(lines.len(), 10);
    let advice = |line: &Value| line["advice"].as_str().unwrap().contains("titan_attempts_lost_total");
    assert!(advice(&lines[9]) && !advice(&lines[0]), "the last one says where the others are counted: {lines:?}");
    assert_eq!(counted(&world).await, "15");
}

#[tokio::test]
async fn a_job_that_was_forgotten_while_its_agent_was_away_and_a_removed_agent_are_no_loss() {
    let log = Log::at("warn");
    let world = World::start().await;
    let away = TestAgent::register(&world, "away").await;
    let removed = TestAgent::register(&world, "removed").await;
    world.call("DELETE", ADMIN, "/api/v1/agents/removed", None).await.ok(204);
    let lease = json!({"job_id": "long-gone", "attempt": 1, "lease_id": "one"});
    let registered = register_with(&world, &away, "run-2", std::slice::from_ref(&lease)).await.ok(200);
    assert_eq!(registered["stop"], json!([lease]));
    assert_eq!(register_with(&world, &removed, "run-2", &[lease]).await.status, 410);
    assert!(log.of(LOST).is_empty());
    assert!(told(&world).await.is_empty());
    assert_eq!(counted(&world).await, "0");
}
