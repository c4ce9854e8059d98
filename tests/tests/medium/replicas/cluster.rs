//! A master of a cluster dies under load, and its replica takes its slots over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use titan_api::ids::PoolName;
use titan_tests::{
    cluster::Cluster,
    wait::{eventually, within},
};

use super::{
    failover::{SOON, Told, WRITERS, count, kept, write},
    replicated,
};

/// How long a node may be silent before the others take it for down: more than a busy machine is.
const DOWN_AFTER: Duration = Duration::from_secs(3);

#[tokio::test]
async fn no_acknowledged_job_is_lost_when_the_master_of_a_cluster_is_killed() {
    let mut cluster = Cluster::start().await;
    let slot = cluster.slot_of("titan:{default}").await;
    let master = cluster.owner_of(slot).await;
    cluster.add_replica(master).await;
    cluster.set_down_after(DOWN_AFTER).await;
    let pool = replicated(&cluster.url()).pool(&PoolName::default());
    let stop = Arc::new(AtomicBool::new(false));
    let writers = (0..WRITERS).map(|n| tokio::spawn(write(pool.clone(), n, Arc::clone(&stop)))).collect();
    eventually("some jobs to be there", async || (count(&pool).await > 200).then_some(())).await;

    let began = Instant::now();
    cluster.node_mut(master).kill();
    let promoted = cluster.promoted(slot).await;
    let agreed = began.elapsed();
    // Acknowledgements need a replica again: what was the master is one now.
    cluster.node_mut(master).restart().await;
    let before = count(&pool).await;
    within(3 * SOON, "new jobs to be taken", async || (count(&pool).await > before + 50).then_some(())).await;
    stop.store(true, Ordering::Relaxed);
    let all = Told::gather(writers).await;
    let kept = kept(cluster.node(promoted)).await;
    let lost: Vec<_> = all.acknowledged.iter().filter(|id| !kept.contains(id.as_str())).collect();
    eprintln!(
        "of {} acknowledged jobs {} are lost; {} times not replicated, {} times unavailable; taken over after {agreed:?}",
        all.acknowledged.len(),
        lost.len(),
        all.not_replicated,
        all.unavailable,
    );
    assert!(lost.is_empty(), "{lost:?}");
    all.resubmit(&pool).await;
}
