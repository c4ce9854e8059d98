//! Failovers by sentinels, under load: who becomes master, what is lost, and how soon everything goes on.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use titan_api::{
    ids::{JobId, PoolName},
    jobs::SubmitJob,
};
use titan_lua::{
    Durability, Pool, Store, StoreError,
    jobs::{GetJob, Idempotency, NewJob, Submit, SubmitOutcome},
    pool::ReadStatus,
    watch::Topic,
};
use titan_tests::{
    redis::RedisServer,
    replicas::Replicas,
    wait::{eventually, within},
};

use tokio::task::JoinHandle;

use super::with;
use crate::store::world::process;

pub(super) const WRITERS: usize = 8;
/// After the sentinels have agreed, whatever a store has to find out is found out within this.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// What a writer knows of its jobs: those that were acknowledged.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) acknowledged: Vec<JobId>,
    pub(super) not_replicated: usize,
    pub(super) unavailable: usize,
}

impl Told {
    /// What all of them know, once they have stopped.
    pub(super) async fn gather(writers: Vec<JoinHandle<Self>>) -> Self {
        let mut all = Self::default();
        for writer in writers {
            let told = writer.await.unwrap();
            all.acknowledged.extend(told.acknowledged);
            all.not_replicated += told.not_replicated;
            all.unavailable += told.unavailable;
        }
        all
    }

    /// Submits again, under their keys and as new jobs, those that were acknowledged: what was lost is there again then, and
    /// nothing is there twice.
    pub(super) async fn resubmit(&self, pool: &Pool) {
        let (before, spec) = (count(pool).await, waiting());
        let mut lost = 0;
        for id in &self.acknowledged {
            let again = JobId::new(id.as_str().replace("job", "again")).unwrap();
            let new = [NewJob { id: again.clone(), ..keyed(id, &spec) }];
            let outcome = eventually("a job to be accepted again", async || {
                Submit { jobs: &new, owner: "admin", explain: false }.run(pool).await.ok()
            });
            let SubmitOutcome::Submitted { jobs, .. } = outcome.await else { panic!("{id} is not accepted") };
            assert!(jobs[0].id == *id || jobs[0].id == again, "{id} is {} now", jobs[0].id);
            lost += usize::from(jobs[0].id == again);
        }
        assert_eq!(count(pool).await, before + lost);
    }
}

pub(super) fn waiting() -> SubmitJob {
    SubmitJob { allow_unserved: true, ..process() }
}

/// A job of a writer under its own key.
fn keyed<'a>(id: &JobId, spec: &'a SubmitJob) -> NewJob<'a> {
    let key = id.as_str().trim_start_matches("job-").replace('-', "x");
    NewJob { idempotency: Some(Idempotency { key, body: "b".to_owned() }), ..NewJob::new(id, spec) }
}

/// Submits job after job until it is told to stop. Each goes on, with its key, until it is acknowledged.
pub(super) async fn write(pool: Pool, writer: usize, stop: Arc<AtomicBool>) -> Told {
    let (mut told, spec) = (Told::default(), waiting());
    for number in 0.. {
        let name = format!("job-{writer}-{number}");
        let new = keyed(&JobId::new(&name).unwrap(), &spec);
        loop {
            match (Submit { jobs: std::slice::from_ref(&new), owner: "admin", explain: false }).run(&pool).await {
                Ok(_) => told.acknowledged.push(new.id.clone()),
                Err(e) if stop.load(Ordering::Relaxed) => {
                    drop(e);
                    return told;
                }
                Err(e) => {
                    match e {
                        StoreError::NotReplicated { .. } => told.not_replicated += 1,
                        StoreError::Unavailable(_) => told.unavailable += 1,
                        other => panic!("{name}: {other}"),
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            }
            break;
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    told
}

/// How a master goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Planned,
    Killed,
    Frozen,
}

/// Loses the master under load; gives how many acknowledged jobs are lost.
async fn lose_the_master(fault: Fault, durability: Durability) -> usize {
    let mut redis = Replicas::with_sentinels().await;
    let store = with(&redis.url(), durability);
    let pool = store.pool(&PoolName::default());
    let mut watch = pool.watch(Topic::Events).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS).map(|n| tokio::spawn(write(pool.clone(), n, Arc::clone(&stop)))).collect();
    eventually("some jobs to be there", async || (count(&pool).await > 200).then_some(())).await;

    let began = Instant::now();
    match fault {
        Fault::Planned => redis.fail_over().await,
        Fault::Killed => redis.node_mut(0).kill(),
        Fault::Frozen => redis.node_mut(0).pause(),
    }
    redis.becomes_master(1).await;
    let agreed = began.elapsed();
    // Acknowledgements need a replica again.
    match fault {
        Fault::Planned => {}
        Fault::Killed => redis.node_mut(0).restart().await,
        Fault::Frozen => redis.node_mut(0).resume(),
    }
    redis.in_step(1).await;
    let before = count(&pool).await;
    within(SOON, "new jobs to be taken", async || (count(&pool).await > before + 50).then_some(())).await;
    tokio::time::timeout(SOON, watch.changed()).await.expect("whoever waits is woken on the new master");
    stop.store(true, Ordering::Relaxed);
    let all = Told::gather(writers).await;
    check_waiters(&store, &pool).await;
    let kept = kept(redis.node(1)).await;
    let lost = all.acknowledged.iter().filter(|id| !kept.contains(id.as_str())).count();
    eprintln!(
        "{fault:?}, {durability:?}: of {} acknowledged jobs {lost} are lost; {} times not replicated, {} times \
         unavailable; the sentinels agreed after {agreed:?}",
        all.acknowledged.len(),
        all.not_replicated,
        all.unavailable,
    );
    all.resubmit(&pool).await;
    lost
}

pub(super) async fn count(pool: &Pool) -> usize {
    ReadStatus.run(pool).await.map_or(0, |(_, jobs, _)| usize::try_from(jobs.pending).unwrap_or(0))
}

/// The jobs that the new master has.
pub(super) async fn kept(master: &RedisServer) -> BTreeSet<String> {
    let mut all = redis::cmd("ZRANGE");
    all.arg("titan:{default}:jobs").arg(0).arg(-1);
    let ids: Vec<String> = all.query_async(&mut master.connection().await).await.unwrap();
    ids.into_iter().collect()
}

/// A new waiter is told of what happens on the new master.
async fn check_waiters(store: &Store, pool: &Pool) {
    let id = JobId::new("watched").unwrap();
    let spec = SubmitJob { allow_unserved: true, ..process() };
    let new = [NewJob::new(&id, &spec)];
    eventually("the watched job to be accepted", async || {
        Submit { jobs: &new, owner: "admin", explain: false }.run(pool).await.ok()
    })
    .await;
    let mut watch = pool.watch(Topic::Job(id.clone())).await.unwrap();
    titan_lua::jobs::CancelJob { job: &id }.run(pool).await.unwrap();
    tokio::time::timeout(SOON, watch.changed()).await.expect("a change on the new master is heard of");
    assert!(GetJob { job: &id }.run(&store.pool(&PoolName::default())).await.unwrap().is_some());
}

#[tokio::test]
async fn no_acknowledged_job_is_lost_when_a_failover_is_planned() {
    assert_eq!(lose_the_master(Fault::Planned, Durability::Replicated).await, 0);
}

#[tokio::test]
async fn no_acknowledged_job_is_lost_when_the_master_is_killed() {
    assert_eq!(lose_the_master(Fault::Killed, Durability::Replicated).await, 0);
}

#[tokio::test]
async fn no_acknowledged_job_is_lost_when_the_master_falls_silent_and_comes_back() {
    assert_eq!(lose_the_master(Fault::Frozen, Durability::Replicated).await, 0);
}

#[tokio::test]
async fn without_waiting_for_replicas_everything_goes_on_all_the_same_and_what_is_lost_comes_back_with_its_keys() {
    // How many are lost is a matter of luck, and printed.
    lose_the_master(Fault::Killed, Durability::Local).await;
}

#[tokio::test]
async fn what_a_planned_failover_loses_without_waiting_for_replicas_comes_back_with_its_keys() {
    lose_the_master(Fault::Planned, Durability::Local).await;
}
