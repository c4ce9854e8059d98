//! The private server: killed, restarted, frozen, compared.

use std::time::Duration;

use redis::AsyncCommands;
use titan_tests::{redis::RedisServer, snapshot::Value, wait::eventually};

#[tokio::test]
async fn a_durable_server_keeps_what_it_acknowledged_through_kill_9() {
    let mut server = RedisServer::start_durable().await;
    let mut connection = server.connection().await;
    for n in 0..100 {
        let () = connection.hset("counts", n, n * n).await.unwrap();
    }
    let before = server.snapshot().await;
    server.kill();
    assert!(connection.ping::<String>().await.is_err());
    server.restart().await;
    before.assert_unchanged(&server.snapshot().await);
    assert_eq!(before.field("counts", "9"), Some("81"));
}

#[tokio::test]
async fn a_server_without_a_file_forgets_everything_through_kill_9() {
    let mut server = RedisServer::start().await;
    let () = server.connection().await.set("a", 1).await.unwrap();
    server.restart().await;
    assert_eq!(server.snapshot().await.0.len(), 0);
}

#[tokio::test]
async fn a_frozen_server_answers_nothing_until_it_goes_on() {
    let mut server = RedisServer::start().await;
    let mut connection = server.connection().await;
    connection.set_response_timeout(Duration::from_millis(200));
    server.pause();
    assert!(connection.ping::<String>().await.unwrap_err().is_timeout());
    server.resume();
    eventually("the server to answer again", async || connection.ping::<String>().await.ok()).await;
}

#[tokio::test]
async fn a_snapshot_names_each_difference() {
    let server = RedisServer::start().await;
    let mut connection = server.connection().await;
    let () = connection.hset_multiple("hash", &[("same", "1"), ("moved", "1")]).await.unwrap();
    let () = connection.zadd("sorted", "a", 1.5).await.unwrap();
    let () = connection.rpush("list", &["x", "y"]).await.unwrap();
    let () = connection.sadd("set", "m").await.unwrap();
    let () = connection.set("text", b"\xff!".as_slice()).await.unwrap();
    let _: String = redis::cmd("XADD").arg(&["stream", "1-1", "f", "v"]).query_async(&mut connection).await.unwrap();
    let before = server.snapshot().await;
    assert_eq!(before.get("text"), Some(&Value::Text("\\xff!".to_owned())));
    assert_eq!(before.0.len(), 6);

    let () = connection.hset("hash", "moved", "2").await.unwrap();
    let () = connection.del("set").await.unwrap();
    let () = connection.pexpire("list", 60_000).await.unwrap();
    let differences = before.differences(&server.snapshot().await);
    assert_eq!(differences.len(), 3, "{differences:#?}");
    assert_eq!(differences[0], "hash moved: Some(\"1\") -> Some(\"2\")");
}

#[tokio::test]
async fn commands_are_counted_from_one_reading_to_the_next() {
    let server = RedisServer::start().await;
    let before = server.command_counts().await;
    let mut connection = server.connection().await;
    for _ in 0..5 {
        let _: Option<String> = connection.get("nothing").await.unwrap();
    }
    let more = server.command_counts().await.since(&before);
    assert_eq!(more.of("get").calls, 5);
    assert_eq!(more.of("set").calls, 0);
}
