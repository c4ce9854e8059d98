//! The next job comes with the report of how the last one has ended.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    agent::{Agent, Start, sh},
    coordinator::{ClaimsOfReports, Coordinator, Misbehave},
};

/// A job that ends when it is told to.
fn patient() -> Value {
    sh("echo ready; until [ -e go ]; do sleep 0.05; done")
}

fn let_end(agent: &Agent, id: &str) {
    std::fs::write(agent.work().join(format!("job-of-{id}/1/go")), "").unwrap();
}

/// An agent whose only slot is taken, and what takes it.
async fn full(coordinator: &Coordinator) -> (Agent, String) {
    let agent = Start::of(coordinator).args(&["--max-jobs", "1"]).spawn();
    let id = coordinator.give(patient());
    coordinator.wrote(&id, "ready").await;
    (agent, id)
}

/// The claims that came with reports.
fn with_reports(coordinator: &Coordinator) -> Vec<Value> {
    coordinator.with(|s| s.calls_of("report").iter().filter_map(|call| call.body.get("claim").cloned()).collect())
}

fn claims(coordinator: &Coordinator) -> usize {
    coordinator.with(|s| s.calls_of("claim").len())
}

#[tokio::test]
async fn the_next_job_of_a_full_agent_begins_with_the_call_that_reports_the_end_of_the_last() {
    let coordinator = Coordinator::start().await;
    let (agent, mut id) = full(&coordinator).await;
    let before = claims(&coordinator);
    for n in 1..=3 {
        let next = coordinator.give(patient());
        let_end(&agent, &id);
        coordinator.wrote(&next, "ready").await;
        assert!(coordinator.with(|s| s.attempt(&id).end.is_some()));
        assert_eq!((with_reports(&coordinator).len(), claims(&coordinator)), (n, before));
        id = next;
    }
    let asked = with_reports(&coordinator);
    assert!(asked.iter().all(|claim| claim["free_slots"] == 1), "{asked:?}");
    assert!(asked.windows(2).all(|two| two[1]["claim"].as_u64() == two[0]["claim"].as_u64().map(|n| n + 1)));
}

#[tokio::test]
async fn an_agent_with_a_free_slot_has_its_claim_parked_and_reports_without_one() {
    let coordinator = Coordinator::start().await;
    let agent = Start::of(&coordinator).args(&["--max-jobs", "2"]).spawn();
    let id = coordinator.give(patient());
    coordinator.wrote(&id, "ready").await;
    coordinator.until("it waits for another", |s| (s.last("claim")?.body["free_slots"] == 1).then_some(())).await;
    let_end(&agent, &id);
    coordinator.ended(&id).await;
    assert_eq!(with_reports(&coordinator), Vec::<Value>::new());
}

#[tokio::test]
async fn a_report_whose_reply_was_lost_is_repeated_without_its_claim_and_its_job_comes_under_the_same_number() {
    let coordinator = Coordinator::start().await;
    let (agent, id) = full(&coordinator).await;
    let next = coordinator.give(sh("echo once"));
    coordinator.with(|s| s.misbehave("report", Misbehave::LoseReply));
    let_end(&agent, &id);
    assert_eq!(coordinator.ended(&next).await.output, b"once\n");
    let reports = coordinator.with(|s| s.calls_of("report").into_iter().cloned().collect::<Vec<_>>());
    let lost = reports.iter().position(|call| call.body["claim"].is_object()).unwrap();
    assert_eq!(reports[lost + 1].body["reports"], reports[lost].body["reports"]);
    assert_eq!(reports[lost + 1].body.get("claim"), None);
    let number = &reports[lost].body["claim"]["claim"];
    assert!(coordinator.with(|s| s.calls_of("claim").iter().any(|call| call.body["claim"] == *number)));
}

#[tokio::test]
async fn a_coordinator_that_knows_no_such_claims_is_asked_by_itself_under_the_same_number() {
    let coordinator = Coordinator::start().await;
    coordinator.with(|s| s.claims_of_reports = ClaimsOfReports::Unknown);
    let (agent, id) = full(&coordinator).await;
    let next = coordinator.give(sh("echo next"));
    let_end(&agent, &id);
    assert_eq!(coordinator.ended(&next).await.output, b"next\n");
    let number = with_reports(&coordinator)[0]["claim"].clone();
    assert!(coordinator.with(|s| s.calls_of("claim").iter().any(|call| call.body["claim"] == number)));
}

#[tokio::test]
async fn no_report_is_given_up_because_its_claim_is_refused() {
    let coordinator = Coordinator::start().await;
    let (agent, id) = full(&coordinator).await;
    coordinator.with(|s| s.misbehave("report", Misbehave::Refuse("invalid-request", 422, json!({}))));
    let_end(&agent, &id);
    coordinator.ended(&id).await;
    let reports = coordinator.with(|s| s.calls_of("report").into_iter().cloned().collect::<Vec<_>>());
    let refused = reports.iter().position(|call| call.body["claim"].is_object()).unwrap();
    assert_eq!(reports[refused + 1].body["reports"], reports[refused].body["reports"]);
    assert_eq!(reports[refused + 1].body.get("claim"), None);
}

#[tokio::test]
async fn an_agent_that_leaves_or_is_drained_claims_nothing_with_its_last_reports() {
    for leaves in [true, false] {
        let coordinator = Coordinator::start().await;
        let (agent, id) = full(&coordinator).await;
        if leaves {
            agent.signal(Signal::SIGTERM);
            coordinator.until("it leaves", |s| (s.last("heartbeat")?.body["leaving"] == true).then_some(())).await;
        } else {
            coordinator.with(|s| s.draining = true);
            coordinator.next("heartbeat").await;
            coordinator.next("heartbeat").await;
        }
        let_end(&agent, &id);
        coordinator.ended(&id).await;
        assert_eq!(with_reports(&coordinator), Vec::<Value>::new());
    }
}
