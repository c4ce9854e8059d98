//! The log of decisions: one line for each, with the parts of the score at debug.

use std::time::Instant;

use serde_json::{Value, json};

use crate::{
    agent::{TestAgent, held, report},
    log::Log,
    relay::serving,
    tickets::{reachable, wish},
    world::{ADMIN, PATIENCE, World},
};

const SELECTED: &str = "MCDA agent selected";
const SCORING: &str = "agent scoring";
const HANDED_OUT: &str = "job handed out";
const PARTS: [&str; 6] = ["vram", "load", "rtt", "performance", "cost", "warm"];

/// The one line of a decision, whose score is one.
#[track_caller]
fn only(lines: &[Value]) -> &Value {
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0]["component"] == "scheduler" && lines[0]["score"].as_f64().unwrap() > 0.0, "{lines:?}");
    &lines[0]
}

fn has_parts(line: &Value) -> bool {
    PARTS.iter().all(|part| line[part].is_f64())
}

#[tokio::test]
async fn a_ticket_is_a_decision_as_a_job_is() {
    let world = World::start().await;
    reachable(&world, "box", 16).await;
    let log = Log::at("info");
    let routed = world.post(ADMIN, "/api/v1/inference/request", wish()).await.ok(200);
    let lines = log.of(SELECTED);
    let line = only(&lines);
    assert_eq!((&line["job.id"], &line["agent.id"]), (&routed["request_id"], &json!("box")));
    assert!(line["vram"].is_null() && log.of(SCORING).is_empty(), "parts are for debug: {line}");
    drop(log);

    let log = Log::at("info,scheduler=debug");
    let routed = world.post(ADMIN, "/api/v1/inference/request", wish()).await.ok(200);
    assert!(routed.get("explanation").is_none(), "nobody asked for it");
    assert!(has_parts(only(&log.of(SELECTED))), "{:?}", log.of(SELECTED));
    let scoring = log.of(SCORING);
    assert!(has_parts(only(&scoring)) && scoring[0]["agent.id"] == "box", "{scoring:?}");
}

#[tokio::test]
async fn a_ticket_that_there_is_none_of_is_a_decision_too() {
    let world = World::start().await;
    serving(&world, "no-endpoint", &["llama"]).await.park_for_requests(&world).await;
    let log = Log::at("info");
    let routed = world.post(ADMIN, "/api/v1/inference/request", wish()).await.ok(200);
    assert_eq!(routed["mode"], "relay");
    let lines = log.of("no ticket: the request has to go through a coordinator");
    assert_eq!((&only(&lines)["job.id"], &lines[0]["agent.id"]), (&routed["request_id"], &json!("no-endpoint")));
}

#[tokio::test]
async fn a_request_through_the_relay_has_its_parts_at_debug() {
    let world = World::start().await;
    serving(&world, "box", &["llama"]).await.park_for_requests(&world).await;
    let log = Log::at("info,scheduler=debug");
    let asked = json!({"model": "llama", "messages": [{"role": "user", "content": "hi"}]});
    let chosen = async {
        let give_up = Instant::now() + PATIENCE;
        while log.of(SELECTED).is_empty() {
            assert!(Instant::now() < give_up, "no line of it");
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        reply = world.post(ADMIN, "/v1/chat/completions", asked) => panic!("nobody answers: {reply:?}"),
        () = chosen => {}
    }
    let lines = log.of(SELECTED);
    let line = only(&lines);
    assert!(line["job.id"].is_string() && line["agent.id"] == "box", "{line}");
    assert!(has_parts(line) && has_parts(only(&log.of(SCORING))), "{line}");
}

#[tokio::test]
async fn a_job_that_waited_has_its_line_when_it_is_handed_out_however_that_is() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box").await;
    let ids = [world.submit(ADMIN).await, world.submit(ADMIN).await, world.submit(ADMIN).await];
    let log = Log::at("info");
    let one = |claim: u64| json!({"claim": claim, "free_slots": 1});
    let body = json!({"protocol": 1, "claim": 2, "free_slots": 1, "wait_ms": 0});
    let claimed = world.post(&agent.token, &agent.path("claim"), body).await.ok(200);
    let ended = report(&claimed["leases"][0], json!({"type": "completed"}));
    let body = json!({"protocol": 1, "reports": [ended], "claim": one(3)});
    let reported = world.post(&agent.token, &agent.path("report"), body).await.ok(200);
    let holds = json!([held(&reported["leases"][0])]);
    agent.heartbeat(&world, json!({"last_claim": 3, "leases": holds, "claim": one(4)})).await.ok(200);
    let lines = log.of(HANDED_OUT);
    let handed: Vec<_> = lines.iter().map(|line| line["job.id"].as_str().unwrap()).collect();
    assert_eq!(handed, ids);
    for line in &lines {
        let found = (&line["component"], &line["agent.id"], &line["attempt"]);
        assert_eq!(found, (&json!("scheduler"), &json!("box"), &json!(1)));
    }
}
