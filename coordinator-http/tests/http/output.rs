//! Output by SSE: from the beginning, from the middle, across attempts, to the end.

use serde_json::{Value, json};

use crate::{
    agent::{TestAgent, output},
    sse::{Event, Events},
    world::{ADMIN, World},
};

async fn read(world: &World, job: &str, last: Option<&str>) -> Events {
    Events::of(&world.router, ADMIN, &format!("/api/v1/jobs/{job}/output"), last).await
}

/// The place that an event's id names, without what tells attempts of one number apart.
fn place(event: &Event) -> &str {
    event.id.rsplit_once('-').expect("a mark").0
}

async fn running(world: &World, agent: &mut TestAgent) -> (String, Value) {
    let job = world.submit(ADMIN).await;
    let lease = agent.claim(world, 5_000).await.ok(200)["leases"][0].clone();
    agent.report(world, &lease, vec![json!({"type": "started"})]).await.ok(200);
    (job, lease)
}

#[tokio::test]
async fn a_reader_sees_output_as_it_comes_and_then_the_end() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let (job, lease) = running(&world, &mut agent).await;
    let mut events = read(&world, &job, None).await;
    assert_eq!(events.named("attempt").await.data["attempt"], 1);
    let told = agent.report(&world, &lease, vec![output(0, "stdout", "one\n")]).await.ok(200);
    assert_eq!(told["flush_ms"], 25, "somebody reads, so output should come at once");
    let first = events.named("output").await;
    assert_eq!((place(&first), &first.data["chunks"][0]["data"]), ("1-4", &json!("one\n")));
    let rest = vec![output(4, "stderr", "two\n"), json!({"type": "failed", "reason": "exit_code", "exit_code": 3})];
    agent.report(&world, &lease, rest).await.ok(200);
    let second = events.named("output").await;
    assert_eq!((place(&second), &second.data["chunks"][0]["stream"]), ("1-8", &json!("stderr")));
    // Two attempts are left, so the job waits for the agent again.
    let lease = agent.claim(&world, 5_000).await.ok(200)["leases"][0].clone();
    agent.report(&world, &lease, vec![output(0, "stdout", "again\n"), json!({"type": "completed"})]).await.ok(200);
    assert_eq!(events.named("attempt").await.data["attempt"], 2);
    assert_eq!(place(&events.named("output").await), "2-6");
    let end = events.named("end").await;
    assert_eq!((&end.data["state"], &end.data["attempt"]), (&json!("completed"), &json!(2)));
    assert!(events.next().await.is_none(), "nothing follows the end");
}

#[tokio::test]
async fn a_reader_goes_on_where_it_was_on_any_copy() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let (job, lease) = running(&world, &mut agent).await;
    let events = vec![output(0, "stdout", "12345"), output(5, "stdout", "678"), json!({"type": "completed"})];
    agent.report(&world, &lease, events).await.ok(200);
    let mut resumed = read(&world, &job, Some("1-5")).await;
    let rest = resumed.named("output").await;
    assert_eq!((rest.data["chunks"][0]["data"].as_str(), place(&rest)), (Some("678"), "1-8"));
    assert_eq!(resumed.named("end").await.data["state"], "completed");
    let mut from_the_end = read(&world, &job, Some("1-8")).await;
    from_the_end.named("end").await;
    let mut other_attempt = read(&world, &job, Some("7-3")).await;
    other_attempt.named("attempt").await;
    assert_eq!(other_attempt.named("output").await.data["chunks"][0]["offset"], 0);
}

#[tokio::test]
async fn output_of_another_attempt_of_the_same_number_is_told_as_such_and_read_from_its_start() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let job = world.submit(ADMIN).await;
    let before = world.redis.dump().await;
    let lost = agent.claim(&world, 5_000).await.ok(200)["leases"][0].clone();
    agent.report(&world, &lost, vec![output(0, "stdout", "lost ")]).await.ok(200);
    let mut events = read(&world, &job, None).await;
    events.named("attempt").await;
    let seen = events.named("output").await;
    let mut resumed = read(&world, &job, Some(&seen.id)).await;
    // A replica becomes master that has not heard of the claim: the next attempt gets the same number.
    world.redis.restore(&before).await;
    let mut back = read(&world, &job, Some(&seen.id)).await;
    let lease = agent.claim(&world, 5_000).await.ok(200)["leases"][0].clone();
    assert_eq!((&lease["attempt"], lease["lease_id"] == lost["lease_id"]), (&json!(1), false));
    agent.report(&world, &lease, vec![output(0, "stdout", "whole text"), json!({"type": "completed"})]).await.ok(200);
    let mut late = read(&world, &job, Some(&seen.id)).await;
    for events in [&mut events, &mut resumed, &mut back, &mut late] {
        assert_eq!(events.named("attempt").await.data["attempt"], 1);
        let whole = events.named("output").await;
        assert_eq!((&whole.data["chunks"][0]["data"], place(&whole)), (&json!("whole text"), "1-10"));
        assert_ne!(whole.id.rsplit_once('-'), seen.id.rsplit_once('-'));
        events.named("end").await;
    }
    // Piece by piece, the same for whoever says which of the two it has read.
    let path = format!("/api/v1/jobs/{job}/output?attempt=1&offset=5&mark=");
    let of = async |mark: &Value| world.get(ADMIN, &(path.clone() + mark.as_str().unwrap())).await.ok(200);
    let whole = of(&seen.data["mark"]).await;
    assert_eq!((&whole["chunks"][0]["data"], &whole["attempt"]), (&json!("whole text"), &json!(1)));
    assert_eq!(of(&whole["mark"]).await["chunks"][0]["data"], " text");
    world.get(ADMIN, &(path.clone() + "x")).await.problem(titan_api::problem::ProblemType::BadRequest);
}

#[tokio::test]
async fn ten_megabytes_come_whole_or_with_a_gap_that_is_told() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let (job, lease) = running(&world, &mut agent).await;
    let piece = "x".repeat(60_000);
    let pieces = 170_u64;
    for batch in (0..pieces).collect::<Vec<_>>().chunks(17) {
        let events = batch.iter().map(|n| output(n * 60_000, "stdout", &piece)).collect();
        agent.report(&world, &lease, events).await.ok(200);
    }
    agent.report(&world, &lease, vec![json!({"type": "completed"})]).await.ok(200);
    let mut events = read(&world, &job, None).await;
    let (mut read, mut skipped) = (0, 0);
    loop {
        let event = events.next().await.unwrap();
        match event.name.as_str() {
            "output" => {
                let chunks = event.data["chunks"].as_array().unwrap();
                read += chunks.iter().map(|c| c["data"].as_str().unwrap().len() as u64).sum::<u64>();
                assert_eq!(place(&event), format!("1-{}", read + skipped), "the id says how far the reader is");
            }
            "gap" => {
                assert_eq!(read, 65_536, "it is told where the bytes are missing");
                skipped += event.data["skipped_bytes"].as_u64().unwrap();
            }
            "end" => break,
            _ => {}
        }
    }
    assert_eq!(read + skipped, pieces * 60_000);
    assert!(read >= 900_000 && skipped > 0, "read {read}, skipped {skipped}");
}

#[tokio::test]
async fn output_is_read_from_a_time_on() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let (job, lease) = running(&world, &mut agent).await;
    agent.report(&world, &lease, vec![output(0, "stdout", "early\n"), output(6, "stdout", "late\n")]).await.ok(200);
    let piece = async |query: &str| world.get(ADMIN, &format!("/api/v1/jobs/{job}/output?{query}")).await;
    for (query, expected) in [
        ("since_ms=3600000", "early\nlate\n"),
        ("since=2026-01-01T00:00:00Z", "early\nlate\n"),
        ("since_ms=3600000&attempt=1&offset=6", "late\n"),
        ("since=2100-01-01T00:00:00Z", ""),
    ] {
        let piece = piece(query).await.ok(200);
        let text: String = piece["chunks"].as_array().unwrap().iter().map(|c| c["data"].as_str().unwrap()).collect();
        assert_eq!((text.as_str(), &piece["next_offset"]), (expected, &json!(11)), "{query}");
    }
    for wrong in ["since=yesterday", "since_ms=-1", "since_ms=1&since=2026-01-01T00:00:00Z"] {
        piece(wrong).await.problem(titan_api::problem::ProblemType::BadRequest);
    }
    agent.report(&world, &lease, vec![json!({"type": "completed"})]).await.ok(200);
    let path = format!("/api/v1/jobs/{job}/output?since=2100-01-01T00:00:00Z");
    let mut events = Events::of(&world.router, ADMIN, &path, None).await;
    let attempt = events.named("attempt").await;
    assert_eq!(place(&attempt), "1-0");
    assert_eq!(place(&events.named("end").await), "1-11", "nothing was written since");
    let mut resumed = Events::of(&world.router, ADMIN, &path, Some("1-6")).await;
    assert_eq!(resumed.named("output").await.data["chunks"][0]["data"], "late\n", "who resumes says where");
}

#[tokio::test]
async fn a_reader_ends_without_an_end_when_the_coordinator_shuts_down() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let (job, _) = running(&world, &mut agent).await;
    let mut events = read(&world, &job, None).await;
    events.named("attempt").await;
    world.state.closing().cancel();
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn output_is_waited_for_and_read_piece_by_piece() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let (job, lease) = running(&world, &mut agent).await;
    let path = format!("/api/v1/jobs/{job}/output?attempt=1&offset=0&wait_ms=10000");
    let (piece, _) =
        tokio::join!(world.get(ADMIN, &path), agent.report(&world, &lease, vec![output(0, "stdout", "héllo")]));
    let piece = piece.ok(200);
    assert_eq!((&piece["chunks"][0]["data"], &piece["next_offset"]), (&json!("héllo"), &json!(6)));
    let nothing = world.get(ADMIN, &format!("/api/v1/jobs/{job}/output?attempt=1&offset=6&wait_ms=10")).await.ok(200);
    assert_eq!((&nothing["chunks"], &nothing["complete"]), (&json!([]), &json!(false)));
}
