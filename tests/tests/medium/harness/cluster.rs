//! The cluster: complete after its start, and a slot that moves while scripts run.

use redis::{Script, cluster::ClusterClient};
use titan_tests::cluster::Cluster;

#[tokio::test]
async fn a_script_with_an_absent_key_is_told_to_try_again_while_its_slot_moves_and_loses_nothing() {
    let cluster = Cluster::start().await;
    let client = ClusterClient::builder(
        cluster.url().strip_prefix("redis+cluster://").unwrap().split(',').map(|a| format!("redis://{a}")),
    )
    .retries(0)
    .build()
    .unwrap();
    let mut connection = client.get_async_connection().await.unwrap();
    let script = Script::new("return redis.call('HINCRBY', KEYS[1], 'n', 1)");
    let mut run = script.prepare_invoke();
    run.key("titan:{default}").key("titan:{default}:absent");

    assert_eq!(run.invoke_async::<i64>(&mut connection).await.unwrap(), 1);
    let slot = cluster.slot_of("titan:{default}").await;
    let from = cluster.owner_of(slot).await;
    let to = (from + 1) % 3;

    let moving = cluster.begin_move(slot, to).await;
    let refused = run.invoke_async::<i64>(&mut connection).await.unwrap_err();
    assert_eq!(refused.code(), Some("TRYAGAIN"), "before a key has moved: {refused}");
    assert_eq!(moving.move_keys(1).await, 1);
    let refused = run.invoke_async::<i64>(&mut connection).await.unwrap_err();
    assert!(matches!(refused.code(), Some("TRYAGAIN" | "ASK")), "after the pool has moved: {refused}");
    moving.finish().await;

    assert_eq!(cluster.owner_of(slot).await, to);
    assert_eq!(cluster.snapshot().await.field("titan:{default}", "n"), Some("1"));
    let mut connection = client.get_async_connection().await.unwrap();
    assert_eq!(run.invoke_async::<i64>(&mut connection).await.unwrap(), 2);
}
