//! Stopping: in peace, in time, or at once.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    agent::{Agent, Start, lives, sh, until},
    coordinator::{Coordinator, Misbehave},
};

#[tokio::test]
async fn an_idle_agent_says_that_it_leaves_and_exits_well() {
    let coordinator = Coordinator::start().await;
    let mut agent = Agent::start(&coordinator);
    coordinator.next("claim").await;
    agent.signal(Signal::SIGTERM);
    assert!(agent.exit().await.success());
    // Its parked claim counts as read, so whatever it brought goes back at once.
    let claim = coordinator.with(|s| s.last("claim").unwrap().body["claim"].clone());
    let beat = coordinator.with(|s| s.last("heartbeat").unwrap().body.clone());
    assert_eq!((&beat["leaving"], &beat["last_claim"]), (&json!(true), &claim));
}

#[tokio::test]
async fn a_running_job_may_end_in_the_time_of_grace() {
    let coordinator = Coordinator::start().await;
    let mut agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("echo ready; until [ -e go ]; do sleep 0.05; done; echo finished"));
    coordinator.wrote(&id, "ready").await;
    agent.signal(Signal::SIGTERM);
    coordinator.until("it drains", |s| (s.last("heartbeat")?.body["leaving"] == json!(true)).then_some(())).await;
    let unwanted = coordinator.give(sh("true"));
    std::fs::write(agent.work().join(format!("job-of-{id}/1/go")), "").unwrap();
    assert!(agent.exit().await.success());
    let attempt = coordinator.with(|s| s.attempt(&id));
    assert_eq!(
        (attempt.output.as_slice(), &attempt.end.unwrap()["type"]),
        (&b"ready\nfinished\n"[..], &json!("completed"))
    );
    assert!(coordinator.with(|s| s.attempt(&unwanted).end.is_none()), "no new work");
}

#[tokio::test]
async fn a_job_that_takes_longer_is_ended_and_handed_back() {
    let coordinator = Coordinator::start().await;
    let mut agent = Start::of(&coordinator).args(&["--drain-grace", "200ms"]).spawn();
    coordinator.set("kill_grace_ms", 200);
    let id = coordinator.give(sh("trap '' TERM; echo $$; while :; do sleep 600; done"));
    let pid = String::from_utf8(coordinator.wrote(&id, "\n").await.stdout).unwrap();
    agent.signal(Signal::SIGTERM);
    assert!(agent.exit().await.success());
    assert_eq!(coordinator.with(|s| s.attempt(&id).end.unwrap())["type"], "released");
    assert!(!lives(pid.trim().parse().unwrap()));
}

#[tokio::test]
async fn a_second_signal_ends_everything_at_once_and_what_it_ends_is_handed_back() {
    for (on_stop, parking) in [("drain", false), ("keep", true)] {
        let coordinator = Coordinator::start().await;
        coordinator.set("parking", parking);
        let mut agent = Start::of(&coordinator).args(&["--on-stop", on_stop]).spawn();
        let ids = [0; 3].map(|_| coordinator.give(sh("trap '' TERM; echo $$; while :; do sleep 600; done")));
        let mut pids = Vec::new();
        for id in &ids {
            pids.push(String::from_utf8(coordinator.wrote(id, "\n").await.stdout).unwrap().trim().parse().unwrap());
        }
        if on_stop == "keep" {
            // Its farewell would be the last thing that it waits for.
            coordinator.with(|s| (0..100).for_each(|_| s.misbehave("heartbeat", Misbehave::Hang)));
        }
        agent.signal(Signal::SIGINT);
        until("it leaves", || agent.log().contains("stopping: ")).await;
        agent.signal(Signal::SIGINT);
        assert_eq!(agent.exit().await.code(), Some(130));
        assert!(!pids.into_iter().any(lives));
        for id in ids {
            assert_eq!(coordinator.with(|s| s.attempt(&id).end.unwrap())["type"], "released");
        }
    }
}

#[tokio::test]
async fn a_second_signal_waits_for_no_coordinator_that_is_away() {
    let coordinator = Coordinator::start().await;
    let mut agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("trap '' TERM; echo $$; while :; do sleep 600; done"));
    let pid = String::from_utf8(coordinator.wrote(&id, "\n").await.stdout).unwrap();
    agent.signal(Signal::SIGTERM);
    coordinator.until("it leaves", |s| (s.last("heartbeat")?.body["leaving"] == json!(true)).then_some(())).await;
    coordinator.with(|s| (0..100).for_each(|_| s.misbehave("report", Misbehave::Hang)));
    let signalled = Instant::now();
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit().await.code(), Some(130));
    assert!(signalled.elapsed() < Duration::from_secs(5), "{:?}", signalled.elapsed());
    assert!(!lives(pid.trim().parse().unwrap()));
}

#[tokio::test]
async fn an_agent_that_cannot_reach_anybody_stops_when_told() {
    let coordinator = Coordinator::start().await;
    coordinator.with(|s| (0..100).for_each(|_| s.misbehave("join", Misbehave::HangUp)));
    let mut agent = Agent::start(&coordinator);
    coordinator.next("join").await;
    agent.signal(Signal::SIGTERM);
    assert!(agent.exit().await.success());
}

#[tokio::test]
async fn an_agent_that_is_drained_by_an_operator_finishes_its_work_and_takes_more_when_resumed() {
    let coordinator = Coordinator::start().await;
    coordinator.set("max_wait_ms", 100);
    let agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("echo ready; until [ -e go ]; do sleep 0.05; done; echo finished"));
    coordinator.wrote(&id, "ready").await;
    coordinator.with(|s| s.draining = true);
    coordinator.next("heartbeat").await;
    coordinator.next("heartbeat").await;
    let refused = coordinator.give(sh("echo later"));
    std::fs::write(agent.work().join(format!("job-of-{id}/1/go")), "").unwrap();
    assert_eq!(coordinator.ended(&id).await.output, b"ready\nfinished\n");
    coordinator.next("heartbeat").await;
    assert!(!coordinator.with(|s| s.attempt(&refused).started));
    coordinator.with(|s| s.draining = false);
    assert_eq!(coordinator.ended(&refused).await.output, b"later\n");
}
