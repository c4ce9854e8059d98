//! Redis or a coordinator dies in the middle of the work: nothing that was acknowledged is lost.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tempfile::TempDir;
use titan_api::{client::Client, ids::JobId, jobs::SubmitJob};

use crate::helpers::{completed, number_in, patient, shell, submit};

/// A job that works for about two seconds and notes its begin and its end in `folder`.
fn noted(folder: &Path, name: &str) -> SubmitJob {
    let folder = folder.display();
    shell(&format!("cd {folder}; echo $$ > {name}.pid; sleep 2; echo {name} >> ended; echo {name}"))
}

/// Submits as fast as one can until a submission fails; gives the jobs that were acknowledged, by name.
async fn submit_until_refused(client: &Client, folder: &Path) -> Vec<(String, JobId)> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let name = format!("late{number}");
        match client.submit_job(&shell(&format!("echo {name} >> {}/ended", folder.display())), false).await {
            Ok(reply) => acknowledged.push((name, reply.into_value().id)),
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                break;
            }
        }
    }
    acknowledged
}

/// How often a job has ended, by its own notes. Its attempt may be a later one than the first, if the answer that
/// handed it out was lost or came too late to begin.
fn times_ended(folder: &Path, name: &str) -> usize {
    let notes = std::fs::read_to_string(folder.join("ended")).unwrap();
    notes.lines().filter(|line| *line == name).count()
}

#[tokio::test]
async fn when_redis_is_killed_and_started_again_every_acknowledged_job_ends_once() {
    let mut fleet = patient().durable().start().await;
    let (client, folder) = (fleet.client().await, TempDir::new().unwrap());
    let names: Vec<_> = (0..6).map(|n| format!("early{n}")).collect();
    let jobs: Vec<_> = names.iter().map(|name| noted(folder.path(), name)).collect();
    let ids = join_all(jobs.iter().map(|job| submit(&client, job))).await;
    for name in &names {
        number_in(&folder.path().join(format!("{name}.pid"))).await;
    }
    let submitting = {
        let (client, folder) = (client.clone(), folder.path().to_owned());
        tokio::spawn(async move { submit_until_refused(&client, &folder).await })
    };
    // Some submissions get through before, and one is under way.
    let begun = folder.path().join("ended");
    titan_tests::wait::eventually("a late job to end", async || {
        std::fs::read_to_string(&begun).is_ok_and(|notes| notes.contains("late")).then_some(())
    })
    .await;
    fleet.redis.kill();
    let late = submitting.await.unwrap();
    assert!(!late.is_empty());
    check_refused_at_once(&client, &ids[0]).await;

    fleet.redis.restart().await;
    for (name, id) in names.into_iter().zip(ids).chain(late) {
        let job = completed(&client, &id).await;
        assert!(job.failures.is_empty(), "{job:#?}");
        assert_eq!(times_ended(folder.path(), &name), 1, "{name}");
    }
}

/// Well below the time that an answer may take in tests; a machine without other work needs less than a second.
const AT_ONCE: Duration = Duration::from_secs(5);

async fn check_refused_at_once(client: &Client, id: &JobId) {
    let began = Instant::now();
    let read = client.job(id, None).await.unwrap_err();
    let between = Instant::now();
    let written = client.submit_job(&shell("true"), false).await.unwrap_err();
    for (error, took) in [(read, between - began), (written, between.elapsed())] {
        assert_eq!(error.problem().map(|problem| problem.status), Some(503), "{error}");
        assert!(took < AT_ONCE, "it took {took:?}");
    }
}

#[tokio::test]
async fn when_a_coordinator_is_killed_agents_and_clients_go_on_with_the_other() {
    let mut fleet = patient().coordinators(2).start().await;
    let (client, folder) = (fleet.coordinators[1].client().await, TempDir::new().unwrap());
    let names: Vec<_> = (0..8).map(|n| format!("job{n}")).collect();
    let jobs: Vec<_> = names.iter().map(|name| noted(folder.path(), name)).collect();
    let mut ids = join_all(jobs[..4].iter().map(|job| submit(&client, job))).await;
    for name in &names[..4] {
        number_in(&folder.path().join(format!("{name}.pid"))).await;
    }
    fleet.coordinators[0].kill();
    ids.extend(join_all(jobs[4..].iter().map(|job| submit(&client, job))).await);
    for (name, id) in names.iter().zip(&ids) {
        let job = completed(&client, id).await;
        assert!(job.failures.is_empty(), "{job:#?}");
        assert_eq!(times_ended(folder.path(), name), 1, "{name}");
    }
}
