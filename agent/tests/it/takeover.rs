//! Jobs outlive their agent: the next run of it goes on with them, over a crash, a restart and an upgrade.

use std::{path::Path, sync::Arc};

use nix::{sys::signal::Signal, unistd::Pid};
use serde_json::{Value, json};

use crate::{
    agent::{Agent, Start, gone, lives, number_in, sh, until},
    coordinator::{Coordinator, Misbehave},
};

/// Writes down its process id once and counts until somebody says that it is enough.
const COUNTING: &str = "echo $$ > main; i=0; until [ -e enough ]; do echo line $i; echo $i > at; i=$((i+1)); sleep 0.01; done; echo the end";

/// The folder in which the job works.
fn work(home: &tempfile::TempDir, id: &str) -> std::path::PathBuf {
    home.path().join("state").join("work").join(format!("job-of-{id}/1"))
}

/// A counting job that has begun to count.
async fn counting(coordinator: &Coordinator, agent: &Agent) -> (String, i32) {
    let id = coordinator.give(sh(COUNTING));
    coordinator.wrote(&id, "line 3\n").await;
    let main = number_in(&agent.work().join(format!("job-of-{id}/1/main"))).await;
    (id, main)
}

/// Waits until the job has counted on by `more`.
async fn counted(home: &tempfile::TempDir, id: &str, more: i32) {
    let file = work(home, id).join("at");
    let count = || std::fs::read_to_string(&file).ok()?.trim().parse::<i32>().ok();
    let begin = number_in(&file).await;
    until("it counts on", || count().is_some_and(|count| count >= begin + more)).await;
}

/// Checks that the output is whole and each line there once.
fn check(output: &[u8]) {
    let text = String::from_utf8(output.to_vec()).unwrap();
    let (lines, end) = text.strip_suffix('\n').unwrap().rsplit_once('\n').unwrap();
    assert_eq!(end, "the end");
    for (number, line) in lines.lines().enumerate() {
        assert_eq!(line, format!("line {number}"));
    }
}

async fn finish(coordinator: &Coordinator, home: &tempfile::TempDir, id: &str) {
    std::fs::write(work(home, id).join("enough"), "").unwrap();
    let attempt = coordinator.ended(id).await;
    assert_eq!(attempt.end.unwrap()["type"], "completed");
    check(&attempt.output);
}

#[tokio::test]
async fn a_job_outlives_an_agent_that_is_killed_and_ends_in_its_first_attempt_with_its_whole_output() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let (id, main) = counting(&coordinator, &agent).await;
    let mut home = agent.crash().await;
    for _ in 0..3 {
        counted(&home, &id, 5).await;
        let agent = Start::in_home(&coordinator, home).without_env("TITAN_JOIN_TOKEN").spawn();
        let register = coordinator.next("register").await;
        assert_eq!(
            register.body["running"],
            json!([{ "job_id": format!("job-of-{id}"), "attempt": 1, "lease_id": id }])
        );
        let seen = coordinator.with(|s| s.attempt(&id).output.len());
        coordinator.until("output goes on", |s| (s.attempt(&id).output.len() > seen + 100).then_some(())).await;
        home = agent.crash().await;
    }
    let _agent = Start::in_home(&coordinator, Arc::clone(&home)).spawn();
    coordinator.next("heartbeat").await;
    assert!(lives(main), "it is the same process");
    finish(&coordinator, &home, &id).await;
}

#[tokio::test]
async fn a_job_outlives_an_upgrade_to_a_program_that_lies_elsewhere() {
    let coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("titan-agent-1"), folder.path().join("titan-agent-2"));
    for program in [&old, &new] {
        std::fs::copy(env!("CARGO_BIN_EXE_titan-agent"), program).unwrap();
    }
    let home = Arc::new(tempfile::tempdir().unwrap());
    let mut agent = Start::of_program(&old, &coordinator, open(home)).args(&["--on-stop", "keep"]).spawn();
    let (id, main) = counting(&coordinator, &agent).await;
    // The file goes while it runs, as package managers do it, and jobs still begin.
    std::fs::remove_file(&old).unwrap();
    let late = coordinator.give(sh("echo late"));
    assert_eq!(coordinator.ended(&late).await.output, b"late\n");
    agent.signal(Signal::SIGTERM);
    assert!(agent.exit().await.success());
    let beat = coordinator.with(|s| s.last("heartbeat").unwrap().body.clone());
    let claim = coordinator.with(|s| s.last("claim").unwrap().body["claim"].clone());
    assert_eq!((&beat["leaving"], &beat["last_claim"]), (&json!(true), &claim), "what it claimed last goes back");
    assert_eq!(beat["leases"][0]["lease_id"], json!(id));
    let home = agent.crash().await;
    counted(&home, &id, 5).await;
    let _agent = Start::of_program(&new, &coordinator, Arc::clone(&home)).spawn();
    coordinator.next("heartbeat").await;
    assert!(lives(main));
    finish(&coordinator, &home, &id).await;
}

/// A job's account must be able to pass through.
fn open(home: Arc<tempfile::TempDir>) -> Arc<tempfile::TempDir> {
    std::fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    home
}

#[tokio::test]
async fn an_end_that_came_while_no_agent_ran_is_told_with_the_output_before_it() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("echo $$ > main; echo first; until [ -e go ]; do sleep 0.02; done; head -c 300000 /dev/zero | tr '\\0' x; exit 3"));
    coordinator.wrote(&id, "first").await;
    let main = number_in(&agent.work().join(format!("job-of-{id}/1/main"))).await;
    let home = agent.crash().await;
    std::fs::write(work(&home, &id).join("go"), "").unwrap();
    gone(main).await;
    let exit = home.path().join(format!("state/attempts/job-of-{id}.1.{id}/exit.json"));
    until("its end is written down", || exit.exists()).await;
    let before = coordinator.with(|s| s.calls.len());
    let agent = Start::in_home(&coordinator, home).spawn();
    let attempt = coordinator.ended(&id).await;
    assert_eq!((attempt.output.len(), &attempt.end.unwrap()["exit_code"]), (300_006, &json!(3)));
    let sent: usize = coordinator.with(|s| s.calls[before..].iter().map(|call| call.body.to_string().len()).sum());
    assert!(sent < 500_000, "the last chunk is sent twice at most, not the whole: {sent}");
    until("nothing is owed any more", || !agent.folder(&id).join("owed.json").exists()).await;
    until("its folders are tidied up", || {
        !agent.folder(&id).join("spec.json").exists() && !agent.work().join(format!("job-of-{id}")).exists()
    })
    .await;
}

/// The agent has found it running, and learns of its end by a look alone. Each heartbeat brings it an order.
#[tokio::test]
async fn an_end_that_comes_while_the_agent_registers_is_told() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("echo first; until [ -e go ]; do sleep 0.02; done; exit 3"));
    coordinator.wrote(&id, "first").await;
    let home = agent.crash().await;
    coordinator.with(|s| (0..1_000).for_each(|_| s.misbehave("register", Misbehave::HangUp)));
    let _agent = Start::in_home(&coordinator, Arc::clone(&home)).spawn();
    coordinator.next("register").await;
    std::fs::write(work(&home, &id).join("go"), "").unwrap();
    let exit = home.path().join(format!("state/attempts/job-of-{id}.1.{id}/exit.json"));
    until("its end is written down", || exit.exists()).await;
    coordinator.with(|s| s.misbehave.clear());
    assert_eq!(&coordinator.ended(&id).await.end.unwrap()["exit_code"], &json!(3));
}

#[tokio::test]
async fn an_end_whose_answer_never_came_is_told_again() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    coordinator.next("heartbeat").await;
    coordinator.with(|s| (0..1_000).for_each(|_| s.misbehave("report", Misbehave::HangUp)));
    let id = coordinator.give(sh("echo said"));
    until("it has ended", || agent.folder(&id).join("exit.json").exists()).await;
    let home = agent.crash().await;
    coordinator.with(|s| s.misbehave.clear());
    let _agent = Start::in_home(&coordinator, home).spawn();
    let register = coordinator.next("register").await;
    assert_eq!(register.body["running"][0]["lease_id"], json!(id));
    let attempt = coordinator.ended(&id).await;
    assert_eq!((attempt.output.as_slice(), &attempt.end.unwrap()["type"]), (&b"said\n"[..], &json!("completed")));
    assert!(attempt.started);
}

#[tokio::test]
async fn what_the_coordinator_has_given_elsewhere_is_ended_and_not_reported() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let (id, main) = counting(&coordinator, &agent).await;
    let before = coordinator.with(|s| s.attempt(&id).output.len());
    let home = agent.crash().await;
    counted(&home, &id, 10).await;
    coordinator.with(|s| s.stale.push(id.clone()));
    let agent = Start::in_home(&coordinator, home).spawn();
    gone(main).await;
    until("nothing is owed any more", || !agent.folder(&id).join("owed.json").exists()).await;
    let after = coordinator.with(|s| s.attempt(&id));
    assert!(after.end.is_none() && after.output.len() <= before + 500);
}

#[tokio::test]
async fn what_nobody_watched_over_is_ended_at_once_and_told_as_lost() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let script = "setsid sh -c 'trap \"\" TERM; echo $$ > escaped; while :; do sleep 600; done' & echo $$ > main; echo said; while :; do sleep 600; done";
    let id = coordinator.give(sh(script));
    let (main, escaped) = {
        let work = agent.work().join(format!("job-of-{id}/1"));
        (number_in(&work.join("main")).await, number_in(&work.join("escaped")).await)
    };
    let journal: Value = serde_json::from_slice(&std::fs::read(agent.folder(&id).join("shim.json")).unwrap()).unwrap();
    let shim = Pid::from_raw(i32::try_from(journal["shim"]["pid"].as_i64().unwrap()).unwrap());
    let home = agent.crash().await;
    nix::sys::signal::kill(shim, Signal::SIGKILL).unwrap();
    gone(main).await;
    let _agent = Start::in_home(&coordinator, home).spawn();
    coordinator.next("register").await;
    assert!(!lives(escaped), "whether the coordinator answers or not");
    let attempt = coordinator.ended(&id).await;
    assert_eq!(
        (attempt.output.as_slice(), &attempt.end.unwrap()["reason"]),
        (&b"said\n"[..], &json!("agent_restarted"))
    );
}

#[tokio::test]
async fn an_attempt_that_never_began_is_handed_back_and_rubbish_is_removed() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    coordinator.next("heartbeat").await;
    let home = agent.crash().await;
    let attempts = home.path().join("state/attempts");
    let note = |name: &str, text: &str| {
        let folder: &Path = &attempts.join(name);
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("owed.json"), text).unwrap();
    };
    note("j.1.l", r#"{"lease": {"job_id": "j", "attempt": 1, "lease_id": "l"}}"#);
    note("broken", "{");
    let _agent = Start::in_home(&coordinator, home).spawn();
    assert_eq!(coordinator.ended("l").await.end.unwrap()["type"], "released");
    assert!(!attempts.join("broken").exists());
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_no_agent_ran_ends_when_one_is_back() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let (id, main) = counting(&coordinator, &agent).await;
    let home = agent.crash().await;
    coordinator.with(|s| s.cancel.push(format!("job-of-{id}")));
    let _agent = Start::in_home(&coordinator, home).spawn();
    assert_eq!(coordinator.ended(&id).await.end.unwrap()["type"], "cancelled");
    assert!(!lives(main));
}

#[tokio::test]
async fn jobs_that_were_taken_over_fill_their_slots() {
    let coordinator = Coordinator::start().await;
    let agent = Start::of(&coordinator).args(&["--max-jobs", "1"]).spawn();
    let (id, _) = counting(&coordinator, &agent).await;
    let home = agent.crash().await;
    let _agent = Start::in_home(&coordinator, Arc::clone(&home)).args(&["--max-jobs", "1"]).spawn();
    let next = coordinator.give(sh("echo next"));
    coordinator.next("heartbeat").await;
    coordinator.next("heartbeat").await;
    assert!(!coordinator.with(|s| s.attempt(&next).started), "there is no slot for it");
    finish(&coordinator, &home, &id).await;
    assert_eq!(coordinator.ended(&next).await.output, b"next\n");
}
