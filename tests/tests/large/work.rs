//! Many jobs, and jobs that are cancelled.

use std::{collections::BTreeSet, time::Instant};

use futures_util::future::join_all;
use tempfile::TempDir;
use titan_api::jobs::{JobState, Reason};

use crate::helpers::{GRACE, SLACK, completed, ended, is_alive, number_in, patient, quick, shell, submit};

#[tokio::test]
async fn two_hundred_short_jobs_over_two_agents_run_once_each() {
    let fleet = patient().start().await;
    let (client, folder) = (fleet.client().await, TempDir::new().unwrap());
    let ran = folder.path().join("ran");
    let jobs: Vec<_> = (0..200).map(|n| shell(&format!("echo {n} >> {}", ran.display()))).collect();
    let ids = join_all(jobs.iter().map(|job| submit(&client, job))).await;
    let mut agents = BTreeSet::new();
    for id in &ids {
        let job = completed(&client, id).await;
        assert!(job.failures.is_empty(), "{job:#?}");
        agents.insert(job.agent_id.unwrap().to_string());
    }
    assert_eq!(agents.len(), 2, "both agents took part");
    let text = std::fs::read_to_string(ran).unwrap();
    assert_eq!(text.lines().count(), 200);
    assert_eq!(text.lines().collect::<BTreeSet<_>>().len(), 200);
}

#[tokio::test]
async fn a_cancelled_job_is_gone_within_seconds_with_a_grandchild_that_has_a_session_of_its_own() {
    let fleet = quick().agents(1).start().await;
    let (client, folder) = (fleet.client().await, TempDir::new().unwrap());
    let stubborn = r#"trap "" TERM; echo $$ > grandchild; while :; do sleep 300; done"#;
    let line = format!("cd {}; echo $$ > shell; setsid sh -c '{stubborn}' & wait", folder.path().display());
    let id = submit(&client, &shell(&line)).await;
    let pids = [number_in(&folder.path().join("shell")).await, number_in(&folder.path().join("grandchild")).await];
    assert!(pids.into_iter().all(is_alive));
    let asked = Instant::now();
    assert!(client.cancel_job(&id).await.unwrap().cancelling);
    let job = titan_tests::wait::eventually("the cancelled processes to be gone", async || {
        let job = ended(&client, &id).await;
        (!job.cancelling).then_some(job)
    })
    .await;
    assert!(asked.elapsed() < GRACE + SLACK, "it took {:?}", asked.elapsed());
    assert_eq!((job.state, job.reason), (JobState::Cancelled, Some(Reason::Cancelled)));
    assert!(!pids.into_iter().any(is_alive), "what is said to be gone is gone");
}
