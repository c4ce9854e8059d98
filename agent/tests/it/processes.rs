//! What surrounds a job's program: arguments, environment, folder, account.

use std::{
    os::unix::fs::MetadataExt,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User},
};
use serde_json::json;

use crate::{
    agent::{Agent, Start, gone, lease, lives, number_in, sh, until},
    coordinator::Coordinator,
};

#[tokio::test]
async fn arguments_reach_the_program_without_a_shell() {
    let coordinator = Coordinator::start().await;
    let _agent = Agent::start(&coordinator);
    let id = coordinator.give(lease(&["printf", "%s|", "a b", "$HOME", "*", "; exit 1", ""]));
    assert_eq!(coordinator.ended(&id).await.output, b"a b|$HOME|*|; exit 1||");
}

#[tokio::test]
async fn the_environment_is_an_allow_list_and_what_the_job_asks_for() {
    let coordinator = Coordinator::start().await;
    let _agent = Agent::start(&coordinator);
    let mut lease = lease(&["env"]);
    lease["process"]["env"] = json!({ "MINE": "1", "TITAN_ATTEMPT": "99" });
    lease["devices"] = json!(["GPU-a", "GPU-b"]);
    let id = coordinator.give(lease);
    let text = String::from_utf8(coordinator.ended(&id).await.stdout).unwrap();
    let mut names: Vec<_> = text.lines().map(|line| line.split('=').next().unwrap()).collect();
    names.sort_unstable();
    let expected = [
        "CUDA_VISIBLE_DEVICES",
        "HOME",
        "LANG",
        "LOGNAME",
        "MINE",
        "PATH",
        "TITAN_ATTEMPT",
        "TITAN_JOB_ID",
        "TITAN_RESULT",
        "TMPDIR",
        "USER",
    ];
    assert_eq!(names, expected);
    for line in ["MINE=1", "TITAN_ATTEMPT=1", &format!("TITAN_JOB_ID=job-of-{id}"), "CUDA_VISIBLE_DEVICES=GPU-a,GPU-b"]
    {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }
    assert!(!text.contains("join-secret") && !text.contains("hidden"));
}

#[tokio::test]
async fn no_process_beside_the_agent_carries_its_secrets() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("echo $PPID; while :; do sleep 600; done"));
    let shim = String::from_utf8(coordinator.wrote(&id, "\n").await.stdout).unwrap();
    let shim = shim.trim();
    let environment = std::fs::read(format!("/proc/{shim}/environ")).unwrap();
    let arguments = std::fs::read(format!("/proc/{shim}/cmdline")).unwrap();
    assert!(environment.is_empty(), "{}", String::from_utf8_lossy(&environment));
    for secret in ["join-secret", "credential-1", "token-1"] {
        assert!(!String::from_utf8_lossy(&arguments).contains(secret));
        assert!(!agent.log().contains(secret), "the log holds {secret}");
    }
}

#[tokio::test]
async fn each_attempt_has_a_fresh_folder_that_goes_with_it() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("pwd; ls -A | wc -l; echo x > file; mkdir -p deep/er"));
    let folder = agent.work().join(format!("job-of-{id}"));
    let attempt = coordinator.ended(&id).await;
    assert_eq!(String::from_utf8(attempt.stdout).unwrap(), format!("{}\n0\n", folder.join("1").display()));
    until("the folder is gone", || !folder.exists()).await;
    until("nothing but the record stays", || !agent.folder(&id).join("spec.json").exists()).await;
    assert!(agent.folder(&id).join("exit.json").exists());
}

#[tokio::test]
async fn a_job_runs_where_it_asks_to() {
    let coordinator = Coordinator::start().await;
    let _agent = Agent::start(&coordinator);
    let mut lease = sh("pwd; echo $TMPDIR");
    lease["process"]["working_dir"] = json!("/usr");
    let id = coordinator.give(lease);
    let said = String::from_utf8(coordinator.ended(&id).await.stdout).unwrap();
    assert!(said.starts_with("/usr\n") && said.contains(&format!("job-of-{id}/1")), "{said}");
}

#[tokio::test]
async fn jobs_run_as_their_own_account_and_cannot_read_the_agents_files() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("skipped: only root can run jobs as somebody else");
        return;
    }
    let user = User::from_name("nobody").unwrap().expect("the account nobody exists");
    let coordinator = Coordinator::start().await;
    let agent = Start::of(&coordinator).args(&["--job-user", "nobody"]).spawn();
    let key = agent.state().join("identity/agent.key");
    let script = format!(
        "id -un; id -u; id -G; touch mine && echo wrote; cat {} || echo kept; grep NoNewPrivs /proc/self/status",
        key.display()
    );
    let id = coordinator.give(sh(&script));
    let said = String::from_utf8(coordinator.ended(&id).await.stdout).unwrap();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[..2], ["nobody".to_owned(), user.uid.to_string()]);
    assert!(!lines[2].split(' ').any(|group| group == "0"), "no group of root's: {said}");
    assert_eq!(lines[3..], ["wrote", "kept", "NoNewPrivs:\t1"]);
}

#[tokio::test]
async fn a_stubborn_job_of_another_account_is_ended_too() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("skipped: only root can run jobs as somebody else");
        return;
    }
    let coordinator = Coordinator::start().await;
    let agent = Start::of(&coordinator).args(&["--job-user", "nobody"]).spawn();
    coordinator.set("kill_grace_ms", 200);
    let id = coordinator.give(sh("trap '' TERM; echo $$ > pid; while :; do sleep 600; done"));
    let file = agent.work().join(format!("job-of-{id}/1/pid"));
    let pid = number_in(&file).await;
    assert_ne!(std::fs::metadata(&file).unwrap().uid(), 0);
    coordinator.with(|s| s.cancel.push(format!("job-of-{id}")));
    coordinator.ended(&id).await;
    assert!(!lives(pid));
}

#[tokio::test]
async fn a_job_that_kills_its_own_watcher_dies_with_it_and_is_told() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("setsid sleep 600 & echo $! > left; sleep 0.1; kill -9 $PPID; sleep 600"));
    let left = number_in(&agent.work().join(format!("job-of-{id}/1/left"))).await;
    let end = coordinator.ended(&id).await.end.unwrap();
    assert_eq!((&end["reason"], &end["signal"]), (&json!("signal"), &json!(9)));
    assert!(!lives(left), "the agent ends what its shim cannot");
}

/// A job that stops what watches over it, and notes a child and then itself.
fn stopping(wait: &str, timeout_ms: u32) -> serde_json::Value {
    let mut lease = sh(&format!(
        "{wait}; kill -STOP $PPID; setsid sleep 600 & echo $! > child; trap '' TERM; echo $$ > main; wait; sleep 600"
    ));
    lease["timeout_ms"] = json!(timeout_ms);
    lease
}

#[tokio::test]
async fn a_job_that_stops_its_own_watcher_is_ended_at_its_time_out_by_the_agent() {
    let coordinator = Coordinator::start().await;
    coordinator.set("kill_grace_ms", 200);
    let agent = Agent::start(&coordinator);
    // The first one may do it before its watcher has written down that it runs.
    for wait in ["true", "sleep 0.2"] {
        let id = coordinator.give(stopping(wait, 700));
        let work = agent.work().join(format!("job-of-{id}/1"));
        let pids = [number_in(&work.join("child")).await, number_in(&work.join("main")).await];
        let end = coordinator.ended(&id).await.end.unwrap();
        assert_eq!(end["reason"], "timeout", "{end}");
        assert!(end["message"].as_str().unwrap().contains("did not end it in time, so the agent did"), "{end}");
        assert!(!pids.into_iter().any(lives), "the report says that all processes are gone");
    }
}

#[tokio::test]
async fn a_job_that_was_taken_over_and_stops_its_watcher_is_ended_at_the_time_out_that_it_began_with() {
    let coordinator = Coordinator::start().await;
    coordinator.set("kill_grace_ms", 200);
    let agent = Agent::start(&coordinator);
    let id = coordinator.give(stopping("touch begun; until [ -e go ]; do sleep 0.02; done", 6_000));
    let work = agent.work().join(format!("job-of-{id}/1"));
    until("it has begun", || work.join("begun").exists()).await;
    let begun = Instant::now();
    let _agent = Start::in_home(&coordinator, agent.crash().await).spawn();
    coordinator.next("heartbeat").await;
    std::fs::write(work.join("go"), "").unwrap();
    let main = number_in(&work.join("main")).await;
    let end = coordinator.ended(&id).await.end.unwrap();
    assert_eq!(end["reason"], "timeout", "{end}");
    assert!(end["message"].as_str().unwrap().contains("so the agent did"), "{end}");
    assert!(!lives(main) && begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_shim_that_is_asked_to_end_hands_the_job_back() {
    let coordinator = Coordinator::start().await;
    let _agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("echo $PPID; echo $$; while :; do sleep 600; done"));
    let said = String::from_utf8(coordinator.wrote(&id, "\n").await.stdout).unwrap();
    let pids: Vec<i32> = said.lines().map(|l| l.parse().unwrap()).collect();
    kill(Pid::from_raw(pids[0]), Signal::SIGTERM).unwrap();
    assert_eq!(coordinator.ended(&id).await.end.unwrap()["type"], "released");
    gone(pids[0]).await;
}
