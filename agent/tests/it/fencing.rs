//! No process outlives its lease, whoever dies.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    agent::{Agent, Start, gone, lives, number_in, sh},
    coordinator::{Coordinator, Misbehave},
};

const STUBBORN: &str = "setsid sh -c 'trap \"\" TERM; echo $$ > escaped; while :; do sleep 600; done' & echo $$ > main; trap '' TERM; while :; do sleep 600; done";

async fn stubborn(coordinator: &Coordinator, agent: &Agent, lease_ttl_ms: u64) -> (String, i32, i32) {
    coordinator.set("lease_ttl_ms", lease_ttl_ms);
    coordinator.set("kill_grace_ms", 300);
    let mut lease = sh(STUBBORN);
    lease["lease_ttl_ms"] = json!(lease_ttl_ms);
    let id = coordinator.give(lease);
    let work = agent.work().join(format!("job-of-{id}/1"));
    let (escaped, main) = (number_in(&work.join("escaped")).await, number_in(&work.join("main")).await);
    (id, escaped, main)
}

#[tokio::test]
async fn when_the_agent_is_killed_its_jobs_end_with_their_leases() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let (_, escaped, main) = stubborn(&coordinator, &agent, 4_000).await;
    let _home = agent.crash().await;
    assert!(lives(main), "the lease is not over yet");
    gone(main).await;
    gone(escaped).await;
}

#[tokio::test]
async fn when_nobody_renews_the_lease_the_job_ends_and_the_loss_is_reported_once_it_is_gone() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let (id, escaped, main) = stubborn(&coordinator, &agent, 1_500).await;
    coordinator.with(|s| (0..1_000).for_each(|_| s.misbehave("heartbeat", Misbehave::HangUp)));
    gone(main).await;
    gone(escaped).await;
    coordinator.with(|s| s.misbehave.clear());
    let end = coordinator.ended(&id).await.end.unwrap();
    assert_eq!((&end["type"], &end["reason"]), (&json!("failed"), &json!("lease_lost")));
    until_unlisted(&coordinator).await;
}

async fn until_unlisted(coordinator: &Coordinator) {
    let empty = |s: &mut crate::coordinator::State| (s.last("heartbeat")?.body["leases"] == json!([])).then_some(());
    coordinator.until("it is not listed any more", empty).await;
}

#[tokio::test]
async fn a_disowned_attempt_is_listed_until_its_processes_are_gone() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let (id, escaped, main) = stubborn(&coordinator, &agent, 20_000).await;
    coordinator.until("it is listed", |s| (s.last("heartbeat")?.body["leases"] != json!([])).then_some(())).await;
    coordinator.with(|s| s.stale.push(id.clone()));
    until_unlisted(&coordinator).await;
    assert!(!lives(main) && !lives(escaped), "what is not listed counts as freed");
    assert!(coordinator.with(|s| s.attempt(&id).end.is_none()));
}

#[tokio::test]
async fn renewed_leases_last() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    coordinator.set("lease_ttl_ms", 2_000);
    let mut lease = sh("until [ -e go ]; do sleep 0.05; done; echo survived");
    lease["lease_ttl_ms"] = json!(2_000);
    let id = coordinator.give(lease);
    // Three times as many heartbeats as fit in the lease.
    for _ in 0..30 {
        coordinator.next("heartbeat").await;
    }
    std::fs::write(agent.work().join(format!("job-of-{id}/1/go")), "").unwrap();
    assert_eq!(coordinator.ended(&id).await.output, b"survived\n");
}

#[tokio::test]
async fn a_stale_report_ends_the_job_silently() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    coordinator.set("kill_grace_ms", 300);
    let id = coordinator.give(sh(
        "echo $$ > main; echo first; until [ -e go ]; do sleep 0.05; done; echo more; while :; do sleep 600; done",
    ));
    let work = agent.work().join(format!("job-of-{id}/1"));
    let main = number_in(&work.join("main")).await;
    coordinator.wrote(&id, "first").await;
    coordinator.with(|s| s.next_heartbeat_ms = 60_000);
    coordinator.next("heartbeat").await;
    // So that it is a report that gets to know it first.
    coordinator.with(|s| s.stale.push(id.clone()));
    std::fs::write(work.join("go"), "").unwrap();
    gone(main).await;
    let attempt = coordinator.with(|s| s.attempt(&id));
    assert!(attempt.end.is_none() && attempt.output == b"first\n");
}

#[tokio::test]
async fn a_lease_that_the_heartbeat_disowns_ends_and_its_slot_is_free_again() {
    let coordinator = Coordinator::start().await;
    let agent = Start::of(&coordinator).args(&["--max-jobs", "1"]).spawn();
    let (id, escaped, main) = stubborn(&coordinator, &agent, 20_000).await;
    coordinator.with(|s| s.stale.push(id.clone()));
    let next = coordinator.give(sh("echo next"));
    assert_eq!(coordinator.ended(&next).await.output, b"next\n");
    assert!(!lives(main) && !lives(escaped), "the slot is free only when the processes are gone");
    assert!(coordinator.with(|s| s.attempt(&id).end.is_none()));
}

#[tokio::test]
async fn an_agent_that_is_stopped_past_a_lease_finds_its_job_ended() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let (id, escaped, main) = stubborn(&coordinator, &agent, 1_500).await;
    agent.signal(Signal::SIGSTOP);
    gone(main).await;
    gone(escaped).await;
    agent.signal(Signal::SIGCONT);
    let next = coordinator.give(sh("echo alive"));
    assert_eq!(coordinator.ended(&next).await.output, b"alive\n");
    assert_eq!(coordinator.ended(&id).await.end.unwrap()["reason"], "lease_lost");
}

#[tokio::test]
async fn a_job_that_may_outlive_its_lease_runs_on_for_that_long_while_nobody_can_be_reached() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    coordinator.set("lease_ttl_ms", 500);
    coordinator.set("kill_grace_ms", 300);
    let mut kept = sh("echo $$ > main; until [ -e go ]; do sleep 0.02; done; echo kept");
    kept["lease_ttl_ms"] = json!(500);
    let mut plain = kept.clone();
    kept["disconnect_grace_ms"] = json!(60_000);
    plain["lease_id"] = json!("plain");
    plain["job_id"] = json!("job-of-plain");
    let (kept, plain) = (coordinator.give(kept), coordinator.give(plain));
    let work = agent.work();
    let main = |id: &str| work.join(format!("job-of-{id}/1/main"));
    let (kept_main, plain_main) = (number_in(&main(&kept)).await, number_in(&main(&plain)).await);
    coordinator.with(|s| (0..1_000).for_each(|_| s.misbehave("heartbeat", Misbehave::HangUp)));
    gone(plain_main).await;
    assert!(lives(kept_main), "both leases are over");
    std::fs::write(work.join(format!("job-of-{kept}/1/go")), "").unwrap();
    coordinator.with(|s| s.misbehave.clear());
    assert_eq!(coordinator.ended(&kept).await.output, b"kept\n");
}
