//! A store whose connections die without a word.

use std::time::Instant;

use titan_api::ids::{JobId, PoolName};
use titan_lua::{PoolSettings, Store, watch::Topic};
use titan_tests::{proxy::Proxy, redis::RedisServer, wait::PATIENCE};

#[tokio::test]
async fn connections_that_nothing_comes_through_any_more_are_replaced() {
    let server = RedisServer::start().await;
    let proxy = Proxy::to(&server.address()).await;
    let store = Store::new(&format!("redis://{}", proxy.address()), PoolSettings::default()).unwrap();
    let topic = Topic::Job(JobId::new("job-1").unwrap());
    let mut watch = store.pool(&PoolName::default()).watch(topic).await.unwrap();
    store.now_ms().await.unwrap();
    proxy.freeze_existing();

    let began = Instant::now();
    while store.now_ms().await.is_err() {
        assert!(began.elapsed() < PATIENCE, "the commands' connection is not replaced");
    }
    // Whoever waits is woken once the subscription is made anew.
    tokio::time::timeout(PATIENCE, watch.changed()).await.expect("the subscription is not replaced");
}

#[tokio::test]
async fn a_waiter_that_redis_was_away_for_can_wait_as_soon_as_it_is_back() {
    let mut server = RedisServer::start().await;
    let store = Store::new(&server.url(), PoolSettings::default()).unwrap();
    let pool = store.pool(&PoolName::default());
    server.kill();
    for n in 0..3 {
        let topic = Topic::Job(JobId::new(format!("job-{n}")).unwrap());
        assert!(pool.watch(topic).await.is_err());
    }
    server.restart().await;
    let began = Instant::now();
    let topic = || Topic::Job(JobId::new("job-9").unwrap());
    while pool.watch(topic()).await.is_err() {
        assert!(began.elapsed() < PATIENCE, "it is not back");
    }
    let channels: Vec<String> =
        redis::cmd("PUBSUB").arg("CHANNELS").query_async(&mut server.connection().await).await.unwrap();
    assert!(channels.len() == 1 && channels[0].ends_with("job-9"), "waiters that gave up are subscribed: {channels:?}");
}
