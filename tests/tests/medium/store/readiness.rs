//! What `/api/v1/ready` says of a Redis by how it is set up.

use titan_api::health::{Check, Verdict};
use titan_lua::PoolSettings;
use titan_tests::redis::{RedisServer, patient_store};

async fn check(name: &str, options: &[&str]) -> Check {
    let redis = RedisServer::start_with(options).await;
    let store = patient_store(&redis.url(), PoolSettings::default());
    store.checks().await.into_iter().find(|check| check.name == name).unwrap()
}

#[tokio::test]
async fn what_a_crash_loses_is_said_by_how_redis_syncs() {
    let aof = ["--appendonly", "yes", "--appendfsync"];
    for (options, verdict, says) in [
        (vec!["--appendonly", "no"], Verdict::Warning, "durability: none"),
        ([&aof[..], &["no"]].concat(), Verdict::Warning, "appendfsync is no"),
        ([&aof[..], &["everysec"]].concat(), Verdict::Ok, "may lose"),
        ([&aof[..], &["always"]].concat(), Verdict::Ok, "lose nothing acknowledged"),
        ([&aof[..], &["always", "--rename-command", "CONFIG", ""]].concat(), Verdict::Unknown, "CONFIG GET"),
    ] {
        let check = check("persistence", &options).await;
        assert_eq!(check.verdict, verdict, "{options:?}: {}", check.detail);
        assert!(check.detail.contains(says), "{options:?}: {}", check.detail);
    }
}

#[tokio::test]
async fn a_redis_that_may_evict_anything_is_warned_about() {
    for (policy, verdict, says) in [
        ("noeviction", Verdict::Ok, "nothing is evicted"),
        ("volatile-lru", Verdict::Warning, "join tokens"),
        ("allkeys-lru", Verdict::Warning, "jobs"),
    ] {
        let check = check("eviction_policy", &["--maxmemory-policy", policy]).await;
        assert_eq!(check.verdict, verdict, "{policy}: {}", check.detail);
        assert!(check.detail.contains(says), "{policy}: {}", check.detail);
    }
}
