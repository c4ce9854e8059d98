//! The proxy: each fault is what it says.

use std::time::{Duration, Instant};

use redis::{AsyncCommands, AsyncConnectionConfig, Client, aio::MultiplexedConnection};
use titan_tests::{proxy::Proxy, redis::RedisServer};

async fn connect(proxy: &Proxy) -> redis::RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_millis(400)));
    let client = Client::open(format!("redis://{}", proxy.address()))?;
    client.get_multiplexed_async_connection_with_config(&config).await
}

#[tokio::test]
async fn a_lost_reply_was_executed() {
    let server = RedisServer::start().await;
    let proxy = Proxy::to(&server.address()).await;
    let mut connection = connect(&proxy).await.unwrap();
    proxy.lose_replies(1, |request| request.windows(4).any(|w| w == b"INCR"));

    assert_eq!(connection.ping::<String>().await.unwrap(), "PONG", "only the matched request is hit");
    assert!(connection.incr::<_, _, i64>("n", 1).await.is_err());
    assert_eq!(proxy.lost(), 1);
    assert_eq!(server.connection().await.get::<_, i64>("n").await.unwrap(), 1);
    assert_eq!(connect(&proxy).await.unwrap().incr::<_, _, i64>("n", 1).await.unwrap(), 2);
}

#[tokio::test]
async fn a_delay_is_added_both_ways() {
    let server = RedisServer::start().await;
    let proxy = Proxy::to(&server.address()).await;
    let mut connection = connect(&proxy).await.unwrap();
    proxy.delay(Duration::from_millis(50));
    let began = Instant::now();
    let _: String = connection.ping().await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn frozen_traffic_goes_on_where_it_stopped() {
    let server = RedisServer::start().await;
    let proxy = Proxy::to(&server.address()).await;
    let mut connection = connect(&proxy).await.unwrap();
    proxy.freeze();
    assert!(connection.set::<_, _, ()>("a", "late").await.unwrap_err().is_timeout());
    assert_eq!(server.connection().await.get::<_, Option<String>>("a").await.unwrap(), None);
    proxy.thaw();
    let _: String = connection.ping().await.unwrap();
    assert_eq!(server.connection().await.get::<_, String>("a").await.unwrap(), "late");
}

#[tokio::test]
async fn cut_and_refused_connections_end_at_once() {
    let server = RedisServer::start().await;
    let proxy = Proxy::to(&server.address()).await;
    let mut connection = connect(&proxy).await.unwrap();
    proxy.cut();
    assert!(connection.ping::<String>().await.is_err());
    let mut connection = connect(&proxy).await.unwrap();
    proxy.refuse();
    assert!(connection.ping::<String>().await.is_err());
    assert!(connect(&proxy).await.is_err());
    proxy.accept();
    assert_eq!(connect(&proxy).await.unwrap().ping::<String>().await.unwrap(), "PONG");
}
