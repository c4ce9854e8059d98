//! Every way in which a job ends is told as it was.

use serde_json::{Value, json};

use crate::{
    agent::{Agent, gone, lease, number_in, sh},
    coordinator::Coordinator,
};

async fn end_of(lease: Value) -> Value {
    let coordinator = Coordinator::start().await;
    let _agent = Agent::start(&coordinator);
    let id = coordinator.give(lease);
    coordinator.ended(&id).await.end.unwrap()
}

#[tokio::test]
async fn an_exit_code_is_told() {
    let end = end_of(sh("exit 42")).await;
    assert_eq!((&end["reason"], &end["exit_code"]), (&json!("exit_code"), &json!(42)));
}

#[tokio::test]
async fn the_signal_that_ended_it_is_told() {
    let end = end_of(sh("kill -SEGV $$")).await;
    assert_eq!((&end["reason"], &end["signal"]), (&json!("signal"), &json!(11)));
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_told_in_words() {
    let end = end_of(lease(&["no-such-program", "x"])).await;
    assert_eq!(end["reason"], "start_failed");
    assert_eq!(end["message"], "`no-such-program` cannot be run: No such file or directory in PATH");
}

#[tokio::test]
async fn a_file_that_may_not_be_run_is_told_in_words() {
    let end = end_of(lease(&["/etc/passwd"])).await;
    assert_eq!(end["reason"], "start_failed");
    assert!(end["message"].as_str().unwrap().contains("Permission denied"), "{end}");
}

#[tokio::test]
async fn a_working_folder_that_does_not_exist_is_told_in_words() {
    let mut lease = lease(&["true"]);
    lease["process"]["working_dir"] = json!("/no/such/folder");
    let end = end_of(lease).await;
    assert_eq!(end["reason"], "start_failed");
    assert_eq!(end["message"], "it cannot work in /no/such/folder: No such file or directory");
}

#[tokio::test]
async fn an_empty_command_is_told_in_words() {
    assert_eq!(end_of(lease(&[])).await["message"], "the command is empty");
}

#[tokio::test]
async fn a_job_that_runs_too_long_is_ended_with_everything_below_it() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let mut lease = sh("trap '' TERM; sleep 600 & echo $! > child; sync child; wait; sleep 600");
    lease["timeout_ms"] = json!(500);
    coordinator.set("kill_grace_ms", 200);
    let id = coordinator.give(lease);
    let child = number_in(&agent.work().join(format!("job-of-{id}/1/child"))).await;
    let end = coordinator.ended(&id).await.end.unwrap();
    assert_eq!(end["reason"], "timeout");
    gone(child).await;
}

#[tokio::test]
async fn cancelling_ends_a_grandchild_that_left_group_session_and_parent() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let script = "sh -c 'trap \"\" TERM HUP; setsid sh -c \"trap \\\"\\\" TERM; echo \\$\\$ > escaped; while :; do sleep 600; done\" &'
        while :; do sleep 600; done";
    coordinator.set("kill_grace_ms", 300);
    let id = coordinator.give(sh(script));
    let escaped = number_in(&agent.work().join(format!("job-of-{id}/1/escaped"))).await;
    coordinator.with(|s| s.cancel.push(format!("job-of-{id}")));
    assert_eq!(coordinator.ended(&id).await.end.unwrap()["type"], "cancelled");
    assert!(!crate::agent::lives(escaped), "the report says that all processes are gone");
}

#[tokio::test]
async fn a_job_is_asked_to_end_before_it_is_made_to() {
    let coordinator = Coordinator::start().await;
    let _agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("trap 'echo tidied; exit 0' TERM; echo ready; while :; do sleep 0.05; done"));
    coordinator.wrote(&id, "ready").await;
    coordinator.with(|s| s.cancel.push(format!("job-of-{id}")));
    let attempt = coordinator.ended(&id).await;
    assert_eq!(attempt.stdout, b"ready\ntidied\n");
    assert_eq!(attempt.end.unwrap()["type"], "cancelled");
}

#[tokio::test]
async fn what_a_job_leaves_running_ends_with_it() {
    let coordinator = Coordinator::start().await;
    let _agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("setsid sleep 600 & echo $!; exit 7"));
    let attempt = coordinator.ended(&id).await;
    let left: i32 = String::from_utf8(attempt.stdout).unwrap().trim().parse().unwrap();
    assert_eq!(attempt.end.unwrap()["exit_code"], 7);
    assert!(!crate::agent::lives(left));
}
