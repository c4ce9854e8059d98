//! Ways between agents, a coordinator and Redis that are slow, silent or cut: what runs goes on while it may, agents end by
//! themselves what is not theirs any more, and all works again with nobody's hand.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use titan_api::{
    client::Client,
    ids::JobId,
    jobs::{JobState, Reason},
    output::Stream,
};
use titan_tests::wait::eventually;
use tokio::time::sleep;

use crate::helpers::{GRACE, LEASE, SLACK, completed, is_alive, number_in, patient, quick, read_output, shell, submit};

/// As long as a fault lasts that must end no job.
const A_WHILE: Duration = Duration::from_secs(5);

/// A job that counts until the file `enough` is there.
async fn counting(client: &Client, folder: &Path) -> JobId {
    let line = "i=0; until [ -e enough ]; do echo line $i; echo $i > at; i=$((i+1)); sleep 0.05; done";
    let id = submit(client, &shell(&format!("cd {}; {line}", folder.display()))).await;
    number_in(&folder.join("at")).await;
    id
}

/// Has it end, and checks that it was one attempt and that no line of it is missing.
async fn counted(client: &Client, folder: &Path, id: &JobId) {
    std::fs::write(folder.join("enough"), "").unwrap();
    let job = completed(client, id).await;
    assert_eq!((job.attempt, job.failures.len()), (1, 0), "{job:#?}");
    let counted = number_in(&folder.join("at")).await;
    let lines: Vec<_> = (0..=counted).map(|number| format!("line {number}")).collect();
    assert_eq!(read_output(client, id).await.text(Stream::Stdout).lines().collect::<Vec<_>>(), lines);
}

#[tokio::test]
async fn a_job_goes_on_while_its_agent_is_parted_from_the_coordinator_for_less_than_its_lease() {
    let fleet = patient().proxies().agents(1).start().await;
    let (client, folder, way) = (fleet.client().await, TempDir::new().unwrap(), fleet.agent_proxy());
    let id = counting(&client, folder.path()).await;
    way.freeze();
    sleep(A_WHILE).await;
    way.thaw();
    sleep(A_WHILE).await;
    way.refuse();
    sleep(A_WHILE).await;
    way.accept();
    way.freeze_existing();
    sleep(A_WHILE).await;
    way.cut();
    way.delay(Duration::from_millis(300));
    counted(&client, folder.path(), &id).await;
}

#[tokio::test]
async fn an_agent_that_is_parted_for_longer_than_its_lease_ends_the_job_by_itself_and_begins_it_anew_later() {
    let fleet = quick().proxies().agents(1).start().await;
    let (client, folder) = (fleet.client().await, TempDir::new().unwrap());
    let line = "echo $$ >> runs; [ $(wc -l < runs) = 1 ] || { echo again; exit; }; while :; do sleep 0.1; done";
    let id = submit(&client, &shell(&format!("cd {}; {line}", folder.path().display()))).await;
    let first = number_in(&folder.path().join("runs")).await;
    let parted = Instant::now();
    fleet.agent_proxy().freeze();
    eventually("the first attempt to be ended", async || (!is_alive(first)).then_some(())).await;
    assert!(parted.elapsed() < LEASE + GRACE + SLACK, "it took {:?}", parted.elapsed());
    let lost = async || (client.job(&id, None).await.ok()?.into_value().state == JobState::Pending).then_some(());
    eventually("the pool to take the lease for lost", lost).await;
    fleet.agent_proxy().thaw();
    let job = completed(&client, &id).await;
    let reasons: Vec<_> = job.failures.iter().map(|failure| failure.reason).collect();
    assert_eq!((job.attempt, reasons), (2, vec![Reason::LeaseLost]));
    assert_eq!(read_output(&client, &id).await.text(Stream::Stdout), "again\n");
}

#[tokio::test]
async fn a_redis_that_is_slow_or_out_of_reach_is_told_of_and_ends_no_job() {
    let fleet = patient().proxies().coordinator_setting("REDIS_TIMEOUT", "2s").start().await;
    let (client, folder, way) = (fleet.client().await, TempDir::new().unwrap(), fleet.redis_proxy());
    let id = counting(&client, folder.path()).await;
    for slowly_ms in [50, 250] {
        way.delay(Duration::from_millis(slowly_ms));
        let small = submit(&client, &shell("true")).await;
        completed(&client, &small).await;
    }
    let is_refused = async || {
        let began = Instant::now();
        let refusal = client.submit_job(&shell("true"), false).await.unwrap_err();
        assert!(refusal.is_transient() && began.elapsed() < SLACK, "{refusal} after {:?}", began.elapsed());
    };
    way.delay(Duration::from_secs(5));
    is_refused().await;
    sleep(A_WHILE).await;
    way.delay(Duration::ZERO);
    sleep(A_WHILE).await;
    way.refuse();
    is_refused().await;
    sleep(A_WHILE).await;
    way.accept();
    counted(&client, folder.path(), &id).await;
}
