//! The network parts the master, and those who are beside it, from its replicas, the sentinels and all others: there are two
//! masters then, until the parts are joined again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use titan_api::ids::{JobId, PoolName};
use titan_lua::{
    Durability, Pool, StoreError,
    jobs::{NewJob, Submit},
};
use titan_tests::{
    namespace::Namespace,
    replicas::Replicas,
    skip::skipped,
    wait::{eventually, within},
};
use tokio::time::sleep;

use super::{
    failover::{SOON, Told, count, kept, waiting, write},
    with,
};

/// Writers inside and outside.
const ON_A_SIDE: usize = 2;
/// How long the parts stay parted once the others have a master of their own.
const PARTED: Duration = Duration::from_secs(2);

/// Submits a job, once.
async fn submit(pool: Pool, id: JobId) -> Result<(), StoreError> {
    let spec = waiting();
    let new = [NewJob::new(&id, &spec)];
    Submit { jobs: &new, owner: "admin", explain: false }.run(&pool).await.map(drop)
}

/// Parts them under load from both sides; gives how many of the jobs that were acknowledged inside are lost, or nothing where
/// that can't be tried.
async fn part_the_master(durability: Durability) -> Option<usize> {
    let namespace = match Namespace::new() {
        Ok(namespace) => Arc::new(namespace),
        Err(why) => {
            skipped(&why);
            return None;
        }
    };
    let redis = Replicas::with_the_master_in(&namespace).await;
    let (beside, url, stop) = (namespace.runtime(), redis.url(), Arc::new(AtomicBool::new(false)));
    let outside = with(&url, durability).pool(&PoolName::default());
    // A store is where it was made.
    let inside = beside.spawn(async move { with(&url, durability).pool(&PoolName::default()) }).await.unwrap();
    let outer = (0..ON_A_SIDE).map(|n| tokio::spawn(write(outside.clone(), n, Arc::clone(&stop)))).collect();
    let inner = (ON_A_SIDE..2 * ON_A_SIDE).map(|n| beside.spawn(write(inside.clone(), n, Arc::clone(&stop)))).collect();
    eventually("some jobs to be there", async || (count(&outside).await > 200).then_some(())).await;

    namespace.part();
    let master = redis.another_master().await;
    let before = count(&outside).await;
    within(SOON, "those outside to go on with a master of their own", async || {
        (count(&outside).await > before + 50).then_some(())
    })
    .await;
    sleep(PARTED).await;
    namespace.join();
    redis.becomes_replica(0).await;
    let late = JobId::new("late").unwrap();
    within(SOON, "those inside to follow", async || {
        beside.spawn(submit(inside.clone(), late.clone())).await.unwrap().ok()
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    let (outer, inner) = (Told::gather(outer).await, Told::gather(inner).await);
    beside.shutdown_background();

    let kept = kept(redis.node(master)).await;
    let lost = |told: &Told| told.acknowledged.iter().filter(|id| !kept.contains(id.as_str())).count();
    let (lost_outside, lost_inside) = (lost(&outer), lost(&inner));
    eprintln!(
        "{durability:?}: of {} jobs that were acknowledged outside {lost_outside} are lost, of {} inside {lost_inside}; {} times \
         not replicated, {} times unavailable",
        outer.acknowledged.len(),
        inner.acknowledged.len(),
        outer.not_replicated + inner.not_replicated,
        outer.unavailable + inner.unavailable,
    );
    assert!(kept.contains(late.as_str()), "what comes from inside goes to the new master");
    assert_eq!(lost_outside, 0);
    inner.resubmit(&outside).await;
    Some(lost_inside)
}

#[tokio::test]
async fn no_acknowledged_job_is_lost_when_the_master_is_parted_from_all_but_those_beside_it() {
    if let Some(lost) = part_the_master(Durability::Replicated).await {
        assert_eq!(lost, 0);
    }
}

#[tokio::test]
async fn what_a_parted_master_took_without_waiting_for_replicas_comes_back_with_its_keys() {
    if let Some(lost) = part_the_master(Durability::Local).await {
        assert!(lost > 0, "it was not parted");
    }
}
