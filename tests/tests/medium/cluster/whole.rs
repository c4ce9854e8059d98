//! A cluster in good order, and one that has lost a master.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use titan_lua::{
    PoolSettings, StoreError,
    credentials::join_tokens::{self, UseOutcome},
    pool::ReadStatus,
};
use titan_tests::{binaries::workspace, cluster::Cluster, redis::patient_store, wait::eventually};

use super::operations::{Scene, operations};
use crate::store::world::{agent_id, join_token};

/// The scripts of a pool, by their files.
fn scripts() -> BTreeSet<String> {
    let folder = workspace().join("lua/scripts");
    let nouns = ["agents", "events", "jobs", "models", "output", "pool", "tickets", "usage"];
    let files = nouns.iter().flat_map(|noun| {
        let files = fs::read_dir(folder.join(noun)).unwrap();
        files.map(move |file| format!("{noun}/{}", file.unwrap().path().file_stem().unwrap().to_string_lossy()))
    });
    files.collect()
}

#[tokio::test]
async fn every_script_runs_on_a_cluster() {
    let scene = Scene::new().await;
    let mut called = BTreeSet::from(["pool/open".to_owned()]);
    for (name, operation) in operations(&scene) {
        operation.await.unwrap_or_else(|e| panic!("{name}: {e}"));
        called.insert(name.to_owned());
    }
    assert_eq!(called, scripts(), "each script has its call in operations.rs");
}

/// Well below the time that an answer may take in tests; a machine without other work needs less than a second.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_join_token_is_used_once_on_a_cluster() {
    let cluster = Cluster::start().await;
    let store = patient_store(&cluster.url(), PoolSettings::default());
    let token = join_token("t", 1, store.now_ms().await.unwrap(), 60_000);
    let id = token.record.id.clone();
    join_tokens::create(&store, &token).await.unwrap();
    let use_it =
        async |key: &str| join_tokens::use_once(&store, &id, "hash", key, &agent_id(key), "use").await.unwrap();
    assert!(matches!(use_it("one").await, UseOutcome::Used { .. }));
    assert!(!matches!(use_it("two").await, UseOutcome::Used { .. }));
    join_tokens::forget_use(&store, &id, "one", "use").await.unwrap();
    assert!(!matches!(use_it("one").await, UseOutcome::Used { .. }), "the use stays spent");
}

#[tokio::test]
async fn while_the_pools_master_is_away_every_call_fails_within_a_second_and_works_again_when_it_is_back() {
    let mut scene = Scene::new().await;
    let slot = scene.world.redis.slot_of("titan:{default}").await;
    let owner = scene.world.redis.owner_of(slot).await;
    scene.world.redis.node_mut(owner).kill();
    let calls = operations(&scene).into_iter().map(async |(name, operation)| {
        let begun = Instant::now();
        let failed = operation.await;
        // The others still send everybody to the one that is gone, which looks like a move.
        let told = matches!(failed, Err(StoreError::Unavailable(_) | StoreError::Moving(_)));
        assert!(told, "{name}: {failed:?}");
        assert!(begun.elapsed() < AT_ONCE, "{name} took {:?}", begun.elapsed());
    });
    join_all(calls).await;
    scene.world.redis.node_mut(owner).restart().await;
    eventually("the pool to be back", async || ReadStatus.run(&scene.world.pool()).await.ok()).await;
    scene.world.register("a", &crate::store::world::facts()).await;
}
