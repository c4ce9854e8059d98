//! Agents that die, freeze or are told to leave: their jobs end once, elsewhere if need be.

use std::{path::Path, time::Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use titan_api::{
    agents::AgentState,
    client::Client,
    ids::{AgentId, JobId},
    jobs::{Job, Reason},
    output::Stream,
};
use titan_tests::{
    fleet::Fleet,
    wait::{PATIENCE, eventually},
};

use crate::helpers::{GRACE, LEASE, SLACK, completed, is_alive, number_in, quick, read_output, shell, submit};

/// A line whose first run notes its process ids in `folder` and goes on as `first` says; any later run only says so.
fn twice(folder: &Path, first: &str) -> String {
    let folder = folder.display();
    format!("cd {folder}; echo $$ >> runs; if [ $(wc -l < runs) -gt 1 ]; then echo again; exit; fi; {first}")
}

/// A first run that would go on for minutes, with a child that has a session of its own.
const STAYS: &str = "setsid sleep 300 & echo $! > child; wait";

/// The number of the agent that runs a job, once it has begun to.
async fn runner(fleet: &Fleet, client: &Client, id: &JobId) -> usize {
    let job = client.job(id, None).await.unwrap();
    let agent = job.agent_id.clone().unwrap();
    fleet.agents.iter().position(|candidate| candidate.id() == agent.as_str()).unwrap()
}

/// Checks that a job ran first at one agent and then, to its end, at another.
async fn check_moved(client: &Client, job: &Job, from: &str, reason: Reason) {
    assert_ne!(job.agent_id.as_ref().map(AgentId::as_str), Some(from));
    assert_eq!(job.attempt, 2, "{job:#?}");
    let failures: Vec<_> = job.failures.iter().map(|f| (f.attempt, f.agent_id.as_str(), f.reason)).collect();
    assert_eq!(failures, [(1, from, reason)]);
    assert_eq!(read_output(client, &job.id).await.text(Stream::Stdout), "again\n");
}

#[tokio::test]
async fn when_an_agent_is_killed_another_one_finishes_its_job_and_nothing_of_the_first_attempt_is_left() {
    let mut fleet = quick().start().await;
    let (client, folder) = (fleet.client().await, TempDir::new().unwrap());
    let id = submit(&client, &shell(&twice(folder.path(), STAYS))).await;
    let pids = [number_in(&folder.path().join("child")).await, number_in(&folder.path().join("runs")).await];
    let number = runner(&fleet, &client, &id).await;
    fleet.agents[number].kill();
    let killed = Instant::now();
    let job = completed(&client, &id).await;
    assert!(killed.elapsed() < LEASE + GRACE + SLACK, "it took {:?}", killed.elapsed());
    assert!(!pids.into_iter().any(is_alive), "the first attempt is gone before the second begins");
    check_moved(&client, &job, fleet.agents[number].id(), Reason::LeaseLost).await;
}

#[tokio::test]
async fn what_a_frozen_agent_reports_after_its_lease_changes_nothing() {
    let mut fleet = quick().start().await;
    let (client, folder) = (fleet.client().await, TempDir::new().unwrap());
    let first = "until [ -e go ]; do sleep 0.05; done; echo late";
    let id = submit(&client, &shell(&twice(folder.path(), first))).await;
    number_in(&folder.path().join("runs")).await;
    let number = runner(&fleet, &client, &id).await;
    fleet.agents[number].process().pause();
    std::fs::write(folder.path().join("go"), "").unwrap();
    let job = completed(&client, &id).await;
    check_moved(&client, &job, fleet.agents[number].id(), Reason::LeaseLost).await;

    fleet.agents[number].process().resume();
    fleet.agent_becomes(number, AgentState::Healthy).await;
    // A further job of the same agent: what it had to report before is reported by then.
    let other = AgentId::new(fleet.agents[1 - number].id()).unwrap();
    client.drain_agent(&other).await.unwrap();
    let next = submit(&client, &shell("echo next")).await;
    let next = completed(&client, &next).await;
    assert_eq!(next.agent_id.as_ref().map(AgentId::as_str), Some(fleet.agents[number].id()));
    assert_eq!(client.job(&id, None).await.unwrap().into_value(), job);
    check_moved(&client, &job, fleet.agents[number].id(), Reason::LeaseLost).await;
}

#[tokio::test]
async fn an_agent_that_is_told_to_stop_finishes_its_job_first() {
    let mut fleet = quick().start().await;
    let (client, folder) = (fleet.client().await, TempDir::new().unwrap());
    let line =
        format!("cd {}; echo $$ > pid; until [ -e go ]; do sleep 0.05; done; echo done", folder.path().display());
    let id = submit(&client, &shell(&line)).await;
    number_in(&folder.path().join("pid")).await;
    let number = runner(&fleet, &client, &id).await;
    fleet.agents[number].process().signal(Signal::SIGTERM);
    // What comes now goes to the other one.
    let leaving = AgentId::new(fleet.agents[number].id()).unwrap();
    let drains = async || client.agent(&leaving).await.is_ok_and(|agent| agent.draining).then_some(());
    eventually("the agent to say that it leaves", drains).await;
    let next = submit(&client, &shell("true")).await;
    let next = completed(&client, &next).await;
    assert_ne!(next.agent_id.as_ref().map(AgentId::as_str), Some(fleet.agents[number].id()));
    std::fs::write(folder.path().join("go"), "").unwrap();
    assert!(fleet.agents[number].process().exited(PATIENCE).await.success());
    let job = completed(&client, &id).await;
    assert_eq!((job.attempt, job.failures.len()), (1, 0), "{job:#?}");
    assert_eq!(read_output(&client, &id).await.text(Stream::Stdout), "done\n");
}

#[tokio::test]
async fn a_job_outlives_the_crashes_of_its_agent_in_one_attempt_and_no_line_of_it_is_lost_or_doubled() {
    let mut fleet = quick().start().await;
    let (client, folder) = (fleet.client().await, TempDir::new().unwrap());
    let line = format!(
        "cd {}; echo $$ > runs; i=0; until [ -e go ]; do echo $i; echo $i > at; i=$((i+1)); sleep 0.01; done",
        folder.path().display()
    );
    let id = submit(&client, &shell(&line)).await;
    let pid = number_in(&folder.path().join("runs")).await;
    let number = runner(&fleet, &client, &id).await;
    for _ in 0..3 {
        let at = number_in(&folder.path().join("at")).await;
        fleet.agents[number].kill();
        let counts_on = async || (number_in(&folder.path().join("at")).await > at + 20).then_some(());
        eventually("the job to count on without an agent", counts_on).await;
        fleet.agents[number].restart();
        fleet.agent_becomes(number, AgentState::Healthy).await;
    }
    assert!(is_alive(pid), "it is the same process");
    std::fs::write(folder.path().join("go"), "").unwrap();
    let job = completed(&client, &id).await;
    assert_eq!((job.attempt, job.failures.len()), (1, 0), "{job:#?}");
    let text = read_output(&client, &id).await.text(Stream::Stdout);
    let expected = (0..text.lines().count()).fold(String::new(), |all, line| all + &format!("{line}\n"));
    assert!(text == expected && text.lines().count() > 60, "{text}");
}

#[tokio::test]
async fn what_a_stopped_agent_cannot_finish_is_handed_back_and_completes_elsewhere() {
    let mut fleet = quick().agent_setting("TITAN_DRAIN_GRACE", "1s").start().await;
    let (client, folder) = (fleet.client().await, TempDir::new().unwrap());
    let id = submit(&client, &shell(&twice(folder.path(), STAYS))).await;
    let child = number_in(&folder.path().join("child")).await;
    let number = runner(&fleet, &client, &id).await;
    assert!(fleet.agents[number].stop().await.success());
    assert!(!is_alive(child));
    let job = completed(&client, &id).await;
    check_moved(&client, &job, fleet.agents[number].id(), Reason::Released).await;
}

#[tokio::test]
async fn after_redis_lost_everything_agents_register_again_and_take_work() {
    let mut fleet = quick().start().await;
    let () = redis::cmd("FLUSHALL").query_async(&mut fleet.redis.connection().await).await.unwrap();
    for number in 0..fleet.agents.len() {
        fleet.agent_becomes(number, AgentState::Healthy).await;
    }
    let client = fleet.client().await;
    let id = submit(&client, &shell("echo here")).await;
    completed(&client, &id).await;
    assert_eq!(read_output(&client, &id).await.text(Stream::Stdout), "here\n");
}

#[tokio::test]
async fn a_redis_that_lost_everything_while_a_job_ran_is_told_of_and_the_job_can_be_submitted_again() {
    let mut fleet = quick().start().await;
    let (client, folder) = (fleet.client().await, TempDir::new().unwrap());
    let line =
        format!("cd {}; echo $$ > pid; until [ -e go ]; do sleep 0.05; done; echo done", folder.path().display());
    let job = shell(&line);
    let id = client.submit_job_once(&job, false, "once").await.unwrap().into_value().id;
    let pid = number_in(&folder.path().join("pid")).await;
    let number = runner(&fleet, &client, &id).await;
    let () = redis::cmd("FLUSHALL").query_async(&mut fleet.redis.connection().await).await.unwrap();
    eventually("the attempt that nobody knows to end", async || (!is_alive(pid)).then_some(())).await;
    for number in 0..fleet.agents.len() {
        fleet.agent_becomes(number, AgentState::Healthy).await;
    }
    let id = fleet.agents[number].id().to_owned();
    let log = fleet.coordinators[0].process().log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("Redis has lost data")).collect();
    assert!(lines.len() == 1 && lines[0].contains("WARN") && lines[0].contains(&id), "{lines:?}");

    std::fs::write(folder.path().join("go"), "").unwrap();
    let client = fleet.client().await;
    let again = client.submit_job_once(&job, false, "once").await.unwrap().into_value().id;
    completed(&client, &again).await;
    assert_eq!(read_output(&client, &again).await.text(Stream::Stdout), "done\n");
}
