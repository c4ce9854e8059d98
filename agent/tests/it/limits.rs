//! What jobs are held to by the kernel, on boxes that can do that.

use std::path::{Path, PathBuf};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    agent::{Agent, Start, gone, lives, number_in, sh, until},
    coordinator::Coordinator,
};

/// An agent on a box that can hold jobs to `what`; `None`, and a word of it, if this box cannot.
async fn start(coordinator: &Coordinator, what: &str, args: &[&str]) -> Option<Agent> {
    let agent = Start::of(coordinator).args(args).spawn();
    let facts = coordinator.next("register").await.body["facts"].clone();
    if facts["enforces"].as_array().is_some_and(|enforces| enforces.contains(&json!(what))) {
        return Some(agent);
    }
    let why = format!("jobs are not held to their {what}: ");
    until("the agent says why not", || agent.log().contains(&why)).await;
    eprintln!("skipped: {}", agent.log());
    None
}

fn with(mut lease: Value, ram_mb: u64, cpus: f64) -> Value {
    (lease["ram_mb"], lease["cpus"]) = (json!(ram_mb), json!(cpus));
    lease
}

/// Reads itself full of memory, within bounds should nobody hold it to its own.
fn hungry(mb: u32) -> Value {
    sh(&format!("head -c {mb}000000 /dev/zero | tail -c {mb}000000 > /dev/null"))
}

/// The folders of the control groups that a process is in.
fn groups(pid: i32) -> Vec<PathBuf> {
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let names = own.lines().filter_map(|line| line.rsplit('/').next()).filter(|name| name.starts_with("titan-"));
    let names: Vec<_> = names.map(str::to_owned).collect();
    let mut found = Vec::new();
    find(Path::new("/sys/fs/cgroup"), &names, &mut found);
    found
}

fn find(folder: &Path, names: &[String], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if names.iter().any(|name| *name == entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
        find(&entry.path(), names, found);
    }
}

#[tokio::test]
async fn a_job_that_needs_more_memory_than_it_asked_for_is_ended_and_told_so() {
    let coordinator = Coordinator::start().await;
    let Some(_agent) = start(&coordinator, "ram", &[]).await else { return };
    let id = coordinator.give(with(hungry(300), 64, 0.0));
    let end = coordinator.ended(&id).await.end.unwrap();
    assert_eq!((&end["type"], &end["reason"]), (&json!("failed"), &json!("memory_limit")), "{end}");
    assert!(end["message"].as_str().unwrap().contains("more than its 64 MiB of memory"), "{end}");
    let id = coordinator.give(with(hungry(300), 900, 0.0));
    assert_eq!(coordinator.ended(&id).await.end.unwrap()["type"], "completed", "it has what it needs");
}

#[tokio::test]
async fn a_job_that_asks_for_nothing_gets_the_operators_default_and_none_gets_more_than_it_may_have() {
    let coordinator = Coordinator::start().await;
    let args = ["--default-ram-mb", "64", "--max-ram-mb", "900", "--max-cpus", "1.5"];
    let Some(_agent) = start(&coordinator, "ram", &args).await else { return };
    let id = coordinator.give(hungry(300));
    assert_eq!(coordinator.ended(&id).await.end.unwrap()["reason"], "memory_limit");
    let id = coordinator.give(with(hungry(300), 900, 0.0));
    assert_eq!(coordinator.ended(&id).await.end.unwrap()["type"], "completed");
    for (ram_mb, cpus, words) in [(901, 0.0, "900 MiB of memory"), (0, 2.0, "1.5 CPUs")] {
        let id = coordinator.give(with(sh("echo never"), ram_mb, cpus));
        let attempt = coordinator.ended(&id).await;
        let end = attempt.end.unwrap();
        assert_eq!((&end["reason"], attempt.started), (&json!("refused"), false), "{end}");
        assert!(end["message"].as_str().unwrap().contains(words), "{end}");
    }
}

#[tokio::test]
async fn a_job_gets_no_more_time_on_cpus_than_it_asked_for() {
    let coordinator = Coordinator::start().await;
    let Some(_agent) = start(&coordinator, "cpus", &[]).await else { return };
    // Two that never rest, for two seconds; then how much time their parent's children have had.
    let script = "for i in 1 2; do timeout 2 sh -c 'while :; do :; done' & done; wait; cat /proc/$$/stat";
    let id = coordinator.give(with(sh(script), 0, 0.2));
    let attempt = coordinator.ended(&id).await;
    let stat = String::from_utf8(attempt.stdout).unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u32 = fields[13].parse::<u32>().unwrap() + fields[14].parse::<u32>().unwrap();
    // Of a hundredth of a second each: 40 for a fifth of two seconds, and what beginning and ending takes.
    assert!(ticks <= 80, "{ticks} hundredths of a second on CPUs, of 400 without a limit");
}

#[tokio::test]
async fn a_job_that_makes_processes_without_end_is_refused_more_and_the_box_goes_on() {
    let coordinator = Coordinator::start().await;
    let Some(_agent) = start(&coordinator, "processes", &["--max-processes", "20"]).await else { return };
    let id = coordinator.give(sh("for i in $(seq 60); do sleep 600 & done; exit 5"));
    let end = coordinator.ended(&id).await.end.unwrap();
    assert_eq!(end["type"], "failed");
    assert!(end["message"].as_str().unwrap().contains("more than 20 processes"), "{end}");
    let id = coordinator.give(sh("echo fine"));
    assert_eq!(coordinator.ended(&id).await.output, b"fine\n");
}

#[tokio::test]
async fn nothing_of_an_attempts_group_is_left_when_it_has_ended() {
    let coordinator = Coordinator::start().await;
    let Some(agent) = start(&coordinator, "ram", &[]).await else { return };
    let id = coordinator.give(with(sh("echo $$ > main; until [ -e go ]; do sleep 0.02; done"), 100, 1.0));
    let work = agent.work().join(format!("job-of-{id}/1"));
    let groups = groups(number_in(&work.join("main")).await);
    assert!(!groups.is_empty() && groups.iter().all(|group| group.exists()));
    std::fs::write(work.join("go"), "").unwrap();
    assert_eq!(coordinator.ended(&id).await.end.unwrap()["type"], "completed");
    until("the groups are gone", || groups.iter().all(|group| !group.exists())).await;
}

#[tokio::test]
async fn a_process_that_has_shed_its_name_is_found_in_its_group_after_agent_and_shim_were_killed() {
    let coordinator = Coordinator::start().await;
    let Some(agent) = start(&coordinator, "processes", &[]).await else { return };
    let hidden = "env -i setsid sh -c 'trap \"\" TERM; echo $$ > escaped; while :; do sleep 600; done'";
    let id = coordinator.give(sh(&format!("{hidden} & echo $$ > main; while :; do sleep 600; done")));
    let work = agent.work().join(format!("job-of-{id}/1"));
    let (main, escaped) = (number_in(&work.join("main")).await, number_in(&work.join("escaped")).await);
    let groups = groups(main);
    let journal: Value = serde_json::from_slice(&std::fs::read(agent.folder(&id).join("shim.json")).unwrap()).unwrap();
    let shim = Pid::from_raw(i32::try_from(journal["shim"]["pid"].as_i64().unwrap()).unwrap());
    let home = agent.crash().await;
    kill(shim, Signal::SIGKILL).unwrap();
    gone(main).await;
    assert!(lives(escaped), "nobody has ended it yet");
    let _agent = Start::in_home(&coordinator, home).spawn();
    assert_eq!(coordinator.ended(&id).await.end.unwrap()["reason"], "agent_restarted");
    assert!(!lives(escaped));
    until("the groups are gone", || groups.iter().all(|group| !group.exists())).await;
}

#[tokio::test]
async fn limits_that_make_no_sense_let_no_agent_start() {
    let coordinator = Coordinator::start().await;
    let mut agent = Start::of(&coordinator).args(&["--default-ram-mb", "900", "--max-ram-mb", "64"]).spawn();
    assert!(!agent.exit().await.success());
    assert!(agent.log().contains("--default-ram-mb is more than --max-ram-mb"), "{}", agent.log());
}
