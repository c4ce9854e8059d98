//! While the pool's slot moves to another master, nothing happens to the pool, and afterwards everything does.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use titan_lua::{StoreError, watch::Topic};
use titan_tests::wait::{PATIENCE, within};
use tokio::time::timeout;

use super::operations::{Scene, operations};
use crate::store::world::process;

const POOL: &str = "titan:{default}";
/// Well below the time that an answer may take in tests; a machine without other work needs less than a second.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Every call is told that the pool is moving, soon, and changes nothing.
async fn nothing_can_be_done(scene: &Scene, when: &str) {
    let before = scene.world.redis.snapshot().await;
    let calls = operations(scene).into_iter().map(async |(name, operation)| {
        let begun = Instant::now();
        let outcome = operation.await;
        let told = matches!(outcome, Err(StoreError::Moving(_) | StoreError::Unavailable(_)));
        assert!(told, "{name}, {when}: {outcome:?}");
        assert!(begun.elapsed() < AT_ONCE, "{name}, {when}: took {:?}", begun.elapsed());
    });
    join_all(calls).await;
    before.assert_unchanged(&scene.world.redis.snapshot().await);
}

#[tokio::test]
async fn while_the_pools_slot_moves_every_script_is_refused_and_changes_nothing() {
    let scene = Scene::new().await;
    let cluster = &scene.world.redis;
    let slot = cluster.slot_of(POOL).await;
    let to = (cluster.owner_of(slot).await + 1) % 3;

    let moving = cluster.begin_move(slot, to).await;
    nothing_can_be_done(&scene, "before a key has moved").await;
    moving.move_keys(3).await;
    nothing_can_be_done(&scene, "when some keys have moved").await;
    moving.move_key(POOL).await;
    nothing_can_be_done(&scene, "when the pool's hash has moved").await;
    moving.finish().await;

    assert_eq!(cluster.owner_of(slot).await, to);
    for (name, operation) in operations(&scene) {
        operation.await.unwrap_or_else(|e| panic!("{name}, after the move: {e}"));
    }
}

#[tokio::test]
async fn a_waiter_is_woken_and_subscribed_again_after_its_slot_has_moved() {
    let scene = Scene::new().await;
    let (world, cluster) = (&scene.world, &scene.world.redis);
    let topic = || Topic::Agent(scene.agent.id.clone());
    let mut watch = world.pool().watch(topic()).await.unwrap();

    let slot = cluster.slot_of(POOL).await;
    let to = (cluster.owner_of(slot).await + 1) % 3;
    cluster.begin_move(slot, to).await.finish().await;
    timeout(PATIENCE, watch.changed()).await.expect("woken after the move, since something may have been missed");

    // The registered waiter is on the new master now, as a new one is.
    let mut another = within(PATIENCE, "a subscription", async || world.pool().watch(topic()).await.ok()).await;
    world.claim(&scene.agent, 1).await;
    world.bound(&process()).await;
    timeout(PATIENCE, another.changed()).await.expect("woken by its agent's work");
}
