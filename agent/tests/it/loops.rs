//! The loops against a coordinator that loses replies, answers late, or wants something else.

use std::time::Instant;

use serde_json::{Value, json};

use crate::{
    agent::{Agent, Start, sh, until},
    coordinator::{Coordinator, Misbehave},
};

#[tokio::test]
async fn a_claim_whose_reply_was_lost_is_made_again_under_its_number() {
    let coordinator = Coordinator::start().await;
    coordinator.with(|s| s.misbehave("claim", Misbehave::LoseReply));
    let _agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("echo once"));
    assert_eq!(coordinator.ended(&id).await.output, b"once\n");
    coordinator.with(|s| {
        let numbers: Vec<_> = s.calls_of("claim").iter().map(|c| c.body["claim"].as_u64().unwrap()).collect();
        assert_eq!(numbers[..2], [1, 1]);
        assert!(numbers.windows(2).all(|w| w[1] - w[0] <= 1), "{numbers:?}");
    });
}

#[tokio::test]
async fn a_heartbeat_lists_every_lease_of_the_claims_that_it_says_were_read() {
    let coordinator = Coordinator::start().await;
    coordinator.with(|s| s.next_heartbeat_ms = 5);
    let _agent = Agent::start(&coordinator);
    for _ in 0..20 {
        let id = coordinator.give(sh("true"));
        coordinator.ended(&id).await;
    }
    coordinator.with(|s| {
        for beat in s.calls_of("heartbeat") {
            let last = beat.body["last_claim"].as_u64().unwrap();
            for lease in s.claims.range(..=last).flat_map(|(_, leases)| leases) {
                let listed = beat.body["leases"].as_array().unwrap().iter().any(|l| l["lease_id"] == lease["lease_id"]);
                let ended = s.attempt(lease["lease_id"].as_str().unwrap()).end.is_some();
                assert!(listed || ended);
            }
        }
        let seqs: Vec<_> = s.calls_of("heartbeat").iter().map(|c| c.body["seq"].as_u64().unwrap()).collect();
        assert!(seqs.is_sorted_by(|a, b| a < b));
    });
}

#[tokio::test]
async fn a_lease_stays_listed_until_its_last_report_was_answered() {
    let coordinator = Coordinator::start().await;
    coordinator.with(|s| (0..5).for_each(|_| s.misbehave("report", Misbehave::HangUp)));
    let _agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("echo x"));
    coordinator.until("the report was tried", |s| (s.calls_of("report").len() >= 2).then_some(())).await;
    let beat = coordinator.next("heartbeat").await;
    assert_eq!(beat.body["leases"][0]["lease_id"], json!(id));
    coordinator.ended(&id).await;
    coordinator
        .until("it is not listed any more", |s| (s.last("heartbeat")?.body["leases"] == json!([])).then_some(()))
        .await;
}

#[tokio::test]
async fn reports_whose_replies_were_lost_are_sent_again_in_order_and_harm_nothing() {
    let coordinator = Coordinator::start().await;
    coordinator.with(|s| (0..3).for_each(|_| s.misbehave("report", Misbehave::LoseReply)));
    let _agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("seq 1 20000; seq 1 5 >&2"));
    let attempt = coordinator.ended(&id).await;
    let lines: Vec<_> = (1..=20_000).map(|n| n.to_string()).collect();
    assert!(attempt.stdout == (lines.join("\n") + "\n").as_bytes() && attempt.stderr == b"1\n2\n3\n4\n5\n");
}

#[tokio::test]
async fn output_that_the_coordinator_lost_is_sent_again() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let id = coordinator
        .give(sh("echo one; until [ -e go ]; do sleep 0.05; done; echo two; until [ -e stop ]; do sleep 0.05; done"));
    coordinator.wrote(&id, "one").await;
    coordinator.with(|s| *s.attempts.get_mut(&id).unwrap() = crate::coordinator::Attempt::default());
    std::fs::write(agent.work().join(format!("job-of-{id}/1/go")), "").unwrap();
    coordinator.wrote(&id, "one\ntwo\n").await;
    std::fs::write(agent.work().join(format!("job-of-{id}/1/stop")), "").unwrap();
    assert_eq!(coordinator.ended(&id).await.output, b"one\ntwo\n");
}

#[tokio::test]
async fn heartbeats_go_on_while_claims_and_reports_get_no_answer() {
    let coordinator = Coordinator::start().await;
    let _agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("echo x; sleep 600"));
    coordinator.with(|s| (0..10).for_each(|_| s.misbehave("report", Misbehave::Hang)));
    coordinator.until("a report hangs", |s| s.last("report").cloned()).await;
    for _ in 0..10 {
        let beat = coordinator.next("heartbeat").await;
        assert_eq!(beat.body["leases"][0]["lease_id"], json!(id));
    }
}

#[tokio::test]
async fn no_claim_waits_while_all_slots_are_taken_and_one_goes_out_when_a_slot_is_free() {
    let coordinator = Coordinator::start().await;
    let agent = Start::of(&coordinator).args(&["--max-jobs", "2"]).spawn();
    let held: Vec<_> = (0..2).map(|_| coordinator.give(sh("until [ -e go ]; do sleep 0.05; done"))).collect();
    for id in &held {
        coordinator.until("it runs", |s| s.attempt(id).started.then_some(())).await;
    }
    let claims = coordinator.with(|s| s.calls_of("claim").len());
    for _ in 0..3 {
        coordinator.next("heartbeat").await;
    }
    assert_eq!(coordinator.with(|s| s.calls_of("claim").len()), claims);
    std::fs::write(agent.work().join(format!("job-of-{}/1/go", held[0])), "").unwrap();
    assert_eq!(coordinator.next("claim").await.body["free_slots"], json!(1));
}

#[tokio::test]
async fn many_short_jobs_share_claims_and_reports() {
    let coordinator = Coordinator::start().await;
    let _agent = Start::of(&coordinator).args(&["--max-jobs", "64"]).spawn();
    coordinator.next("heartbeat").await;
    let ids: Vec<_> = (0..40).map(|n| sh(&format!("echo {n}"))).collect();
    let ids: Vec<_> = coordinator.with(|s| {
        ids.into_iter()
            .map(|lease| {
                let id = lease["lease_id"].as_str().unwrap().to_owned();
                s.queue.push_back(lease);
                id
            })
            .collect()
    });
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(coordinator.ended(id).await.output, format!("{n}\n").into_bytes());
    }
    coordinator.with(|s| {
        assert_eq!(s.claims.len(), 1, "one claim brought all of them");
        assert!(s.calls_of("report").len() < 120, "{} reports for 40 jobs", s.calls_of("report").len());
    });
}

#[tokio::test]
async fn where_nobody_parks_the_heartbeat_does_it_all() {
    let coordinator = Coordinator::start().await;
    coordinator.set("parking", false);
    let _agent = Agent::start(&coordinator);
    let ids: Vec<_> = (0..3).map(|n| coordinator.give(sh(&format!("echo {n}; seq 1 50000")))).collect();
    for (n, id) in ids.iter().enumerate() {
        assert!(coordinator.ended(id).await.output.starts_with(format!("{n}\n1\n2\n").as_bytes()));
    }
    assert_eq!(coordinator.with(|s| s.calls_of("claim").len() + s.calls_of("report").len()), 0);
}

#[tokio::test]
async fn where_nobody_parks_a_freed_slot_claims_at_once_even_if_the_ended_lease_is_named_to_stop() {
    let coordinator = Coordinator::start().await;
    coordinator.set("parking", false);
    let agent = Start::of(&coordinator).args(&["--max-jobs", "1"]).spawn();
    let first = coordinator.give(sh("until [ -e go ]; do sleep 0.05; done"));
    coordinator.until("it runs", |s| s.attempt(&first).started.then_some(())).await;
    coordinator.with(|s| (s.next_heartbeat_ms, s.ended_is_stale) = (3_600_000, true));
    coordinator.next("heartbeat").await;
    std::fs::write(agent.work().join(format!("job-of-{first}/1/go")), "").unwrap();
    let second = coordinator.give(sh("echo second"));
    assert_eq!(coordinator.ended(&second).await.output, b"second\n");
}

#[tokio::test]
async fn heartbeats_go_on_while_the_disk_does_not_answer() {
    let coordinator = Coordinator::start().await;
    coordinator.set("parking", false);
    let agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("echo one; until [ -e go ]; do sleep 0.05; done; echo two; echo > wrote; sleep 600"));
    coordinator.wrote(&id, "one").await;
    // Opening a pipe to read it waits for a writer.
    let log = agent.folder(&id).join("log");
    std::fs::remove_file(&log).unwrap();
    nix::unistd::mkfifo(&log, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let work = agent.work().join(format!("job-of-{id}/1"));
    std::fs::write(work.join("go"), "").unwrap();
    until("there is more to read", || work.join("wrote").exists()).await;
    for _ in 0..10 {
        let beat = coordinator.next("heartbeat").await;
        assert_eq!(beat.body["leases"][0]["lease_id"], json!(id));
    }
}

#[tokio::test]
async fn a_lost_heartbeat_loses_neither_its_claim_nor_its_reports() {
    let coordinator = Coordinator::start().await;
    coordinator.set("parking", false);
    let _agent = Agent::start(&coordinator);
    coordinator.next("heartbeat").await;
    let id = coordinator.give(sh("echo x"));
    for _ in 0..6 {
        coordinator.with(|s| s.misbehave("heartbeat", Misbehave::LoseReply));
        coordinator.next("heartbeat").await;
    }
    assert_eq!(coordinator.ended(&id).await.output, b"x\n");
}

#[tokio::test]
async fn the_agent_follows_when_parking_begins_or_ends() {
    let coordinator = Coordinator::start().await;
    coordinator.set("parking", false);
    let _agent = Agent::start(&coordinator);
    coordinator.next("heartbeat").await;
    coordinator.set("parking", true);
    coordinator.next("claim").await;
    coordinator.set("parking", false);
    let id = coordinator.give(sh("echo x"));
    assert_eq!(coordinator.ended(&id).await.output, b"x\n");
    coordinator.until("heartbeats claim", |s| s.last("heartbeat")?.body.get("claim").map(|_| ())).await;
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let coordinator = Coordinator::start().await;
    coordinator.with(|s| s.misbehave("claim", Misbehave::Refuse("overloaded", 503, json!({ "retry_after": 1 }))));
    let _agent = Agent::start(&coordinator);
    coordinator.next("claim").await;
    let refused = Instant::now();
    coordinator.next("claim").await;
    assert!(refused.elapsed().as_millis() >= 900, "{:?}", refused.elapsed());
}

#[tokio::test]
async fn the_next_coordinator_is_called_when_one_does_not_answer() {
    let (first, second) = (Coordinator::start().await, Coordinator::start().await);
    let agent = Start::of(&first).args(&["--coordinator", &second.url]).spawn();
    first.next("heartbeat").await;
    assert_eq!(second.with(|s| s.calls.len()), 0, "the first is first");
    drop(first);
    second.next("heartbeat").await;
    let id = second.give(sh("echo moved"));
    assert_eq!(second.ended(&id).await.output, b"moved\n");
    drop(agent);
}

#[tokio::test]
async fn the_next_coordinator_is_called_when_one_says_that_it_cannot() {
    let (first, second) = (Coordinator::start().await, Coordinator::start().await);
    let _agent = Start::of(&first).args(&["--coordinator", &second.url]).spawn();
    first.next("heartbeat").await;
    first.with(|s| {
        for verb in ["heartbeat", "claim", "report"] {
            (0..1_000)
                .for_each(|_| s.misbehave(verb, Misbehave::Refuse("unavailable", 503, json!({ "retry_after": 1 }))));
        }
    });
    second.next("heartbeat").await;
    let id = second.give(sh("echo moved"));
    assert_eq!(second.ended(&id).await.output, b"moved\n");
}

/// Waits until the last heartbeat tells of such hindrances, each as `kind: why`.
pub(crate) async fn hindrances(coordinator: &Coordinator, name: &str, like: impl Fn(&[String]) -> bool) -> Vec<String> {
    coordinator
        .until(name, |s| {
            let told = s.last("heartbeat")?.body["measures"]["hindered_by"].clone();
            let words = |one: &Value| format!("{}: {}", one["kind"].as_str().unwrap(), one["why"].as_str().unwrap());
            let told: Vec<_> = told.as_array().into_iter().flatten().map(words).collect();
            like(&told).then_some(told)
        })
        .await
}

#[tokio::test]
async fn an_agent_that_nothing_hinders_says_nothing_of_it() {
    let coordinator = Coordinator::start().await;
    let _agent = Agent::start(&coordinator);
    for _ in 0..3 {
        let beat = coordinator.next("heartbeat").await;
        assert_eq!(beat.body["measures"].get("hindered_by"), None);
    }
}

#[tokio::test]
async fn measures_hold_memory_load_and_the_round_trip_time() {
    let coordinator = Coordinator::start().await;
    let _agent = Agent::start(&coordinator);
    let measures = coordinator
        .until("all is measured", |s| {
            let measures = s.last("heartbeat")?.body["measures"].clone();
            (measures["rtt_ms"].is_number() && measures["cpu_load"].is_number()).then_some(measures)
        })
        .await;
    assert!(measures["ram_free_mb"].as_u64().unwrap() > 0);
    assert!((0.0..1_000.0).contains(&measures["rtt_ms"].as_f64().unwrap()));
}

#[tokio::test]
async fn no_job_is_claimed_while_the_disk_has_too_little_room() {
    for parking in [true, false] {
        let coordinator = Coordinator::start().await;
        coordinator.set("parking", parking);
        let agent = Start::of(&coordinator).args(&["--min-free-disk-mb", "18446744073709551615"]).spawn();
        coordinator.give(sh("true"));
        for _ in 0..3 {
            let beat = coordinator.next("heartbeat").await;
            assert_eq!(beat.body.get("claim").filter(|claim| !claim.is_null()), None);
        }
        assert_eq!(coordinator.with(|s| s.calls_of("claim").len()), 0);
        assert!(agent.log().contains("no process jobs are taken below"), "{}", agent.log());
        let told = hindrances(&coordinator, "it is told why", |told| !told.is_empty()).await;
        let full = "has less than 18446744073709551615 MiB left (--min-free-disk-mb), so no process jobs are taken";
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("process: the disk of /") && told[0].ends_with(full), "{told:?}");
    }
}

#[tokio::test]
async fn an_agent_that_takes_no_jobs_never_asks_for_any() {
    let coordinator = Coordinator::start().await;
    let state = tempfile::tempdir().unwrap();
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_titan-agent"))
        .env_clear()
        .env("TITAN_JOIN_TOKEN", "join-secret")
        .env("TITAN_COORDINATOR", &coordinator.url)
        .arg("--state-dir")
        .arg(state.path())
        .stderr(std::fs::File::create(state.path().join("log")).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let register = coordinator.next("register").await;
    assert_eq!(register.body["facts"]["accepts_processes"], json!(false));
    coordinator.give(sh("true"));
    for _ in 0..3 {
        coordinator.next("heartbeat").await;
    }
    assert_eq!(coordinator.with(|s| s.calls_of("claim").len()), 0);
    let log = || std::fs::read_to_string(state.path().join("log")).unwrap();
    until("it says so", || log().contains("process jobs are off (--policy or --allow-jobs turns them on)")).await;
    child.kill().await.unwrap();
}
