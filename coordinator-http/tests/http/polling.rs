//! `PARKING=off`: nobody holds a request open, and the pace follows the pool's use.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    agent::TestAgent,
    world::{ADMIN, World},
};

#[tokio::test]
async fn where_nobody_parks_a_claim_is_answered_at_once_with_the_pace() {
    let world = World::with(&["--parking", "off", "--idle-poll-ms", "20000"]).await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let began = Instant::now();
    let idle = agent.claim(&world, 20_000).await.ok(200);
    assert!(began.elapsed() < Duration::from_secs(15));
    assert_eq!((&idle["parking"], &idle["flush_ms"]), (&json!(false), &json!(1_000)));
    let poll = idle["poll_after_ms"].as_u64().unwrap();
    assert!((18_000..=22_000).contains(&poll), "nobody has called in this pool, so it polls slowly: {poll}");
    world.get(ADMIN, "/api/v1/status").await.ok(200);
    let busy = agent.claim(&world, 0).await.ok(200)["poll_after_ms"].as_u64().unwrap();
    assert!((900..=1_000).contains(&busy), "a client has called, so it polls each second: {busy}");
}

#[tokio::test]
async fn where_nobody_parks_reads_wait_two_seconds_at_most() {
    let world = World::with(&["--parking", "off"]).await;
    let job = world.submit(ADMIN).await;
    let began = Instant::now();
    let pending = world.get(ADMIN, &format!("/api/v1/jobs/{job}?wait_ms=20000")).await.ok(200);
    assert_eq!(pending["state"], "pending");
    let waited = began.elapsed();
    assert!((Duration::from_millis(1_900)..Duration::from_secs(15)).contains(&waited), "{waited:?}");
}

#[tokio::test]
async fn where_agents_park_heartbeats_are_spread_around_their_interval() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    for _ in 0..5 {
        let beat = agent.heartbeat(&world, json!({})).await.ok(200);
        assert!((9_000..=11_000).contains(&beat["next_heartbeat_ms"].as_u64().unwrap()));
        assert_eq!(beat["settings"]["max_wait_ms"], 20_000);
        assert_eq!(beat["settings"]["lease_ttl_ms"], 60_000);
    }
}

#[tokio::test]
async fn a_shutdown_answers_parked_claims_with_nothing() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let began = Instant::now();
    let closing = world.state.closing();
    let (parked, ()) = tokio::join!(agent.claim(&world, 20_000), async { closing.cancel() });
    assert_eq!(parked.ok(200)["leases"], json!([]));
    assert!(began.elapsed() < Duration::from_secs(15));
}
