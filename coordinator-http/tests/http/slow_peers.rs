//! Peers that are slow, silent or sly, over real sockets.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use titan_coordinator::server::{self, Limits};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{
    agent::TestAgent,
    world::{ADMIN, World},
};

/// The real limits, a fiftieth as long.
pub(crate) fn limits() -> Limits {
    let full = Limits::default();
    Limits {
        connections: 8,
        per_address: 8,
        head: full.head / 50,
        body_pause: full.body_pause / 50,
        body: full.body / 50,
        idle: full.idle / 50,
        write_stall: full.write_stall / 50,
        light: full.light / 50,
        shutdown: full.shutdown / 50,
    }
}

pub(crate) async fn serve(world: &World) -> (SocketAddr, JoinHandle<()>) {
    serve_within(world, limits()).await
}

pub(crate) async fn serve_within(world: &World, limits: Limits) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = server::serve(listener, world.router.clone(), limits, world.state.closing());
    (address, tokio::spawn(server))
}

/// Sends pieces with pauses and gives all that came back, and how long it took until the connection was closed.
pub(crate) async fn talk(address: SocketAddr, pieces: &[&str], pause: Duration) -> (String, Duration) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let began = Instant::now();
    for piece in pieces {
        if stream.write_all(piece.as_bytes()).await.is_err() {
            break;
        }
        tokio::time::sleep(pause).await;
    }
    let mut reply = Vec::new();
    let read = stream.read_to_end(&mut reply);
    let _ = tokio::time::timeout(Duration::from_secs(20), read).await.expect("the connection stays open");
    (String::from_utf8_lossy(&reply).into_owned(), began.elapsed())
}

fn head(more: &str) -> String {
    format!(
        "POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\nContent-Type: application/json\r\n{more}\r\n"
    )
}

/// A claim that waits for so long, as bytes.
pub(crate) fn claim(agent: &TestAgent, version: &str, wait_ms: u64) -> String {
    let claim = format!(r#"{{"protocol":1,"claim":1,"free_slots":1,"wait_ms":{wait_ms}}}"#);
    format!(
        "POST {} {version}\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{claim}",
        agent.path("claim"),
        agent.token,
        claim.len()
    )
}

#[test]
fn nobody_holds_a_connection_for_more_than_ten_seconds_without_a_whole_head() {
    assert!(Limits::default().head <= Duration::from_secs(10));
}

#[tokio::test]
async fn a_peer_that_says_nothing_or_half_a_head_is_closed() {
    let world = World::start().await;
    let (address, _server) = serve(&world).await;
    let silent = talk(address, &[], Duration::ZERO);
    let half = talk(address, &["GET / HTTP/1.1\r\nHost: x\r\n"], Duration::ZERO);
    let drip = talk(address, &["GET", " /", " H", "TT", "P/", "1.", "1\r", "\nA", ": ", "b\r"], limits().head / 3);
    let (silent, half, drip) = tokio::join!(silent, half, drip);
    for (name, (_, took)) in [("silent", silent), ("half", half), ("drip", drip)] {
        assert!(took >= limits().head, "{name} was closed after {took:?} already");
        assert!(took < limits().idle * 3, "{name} was closed only after {took:?}");
    }
}

#[tokio::test]
async fn half_a_head_behind_a_request_has_no_more_time_than_any() {
    let world = World::start().await;
    let (address, _server) = serve_within(&world, Limits { idle: Duration::from_mins(10), ..limits() }).await;
    let get = "GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n";
    let (reply, took) = talk(address, &[&format!("{get}{get}GET /api")], Duration::ZERO).await;
    assert_eq!(reply.matches("HTTP/1.1 200").count(), 2, "{reply}");
    assert!(took >= limits().head, "it was closed after {took:?} already");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_with_408_and_closed() {
    let world = World::start().await;
    let (address, _server) = serve(&world).await;
    let (reply, _) = talk(address, &[&head("Content-Length: 100\r\n"), "{\"kind\""], Duration::ZERO).await;
    assert!(reply.starts_with("HTTP/1.1 408"), "{reply}");
    assert!(reply.contains("/problems/request-timeout"), "{reply}");
    let pieces: Vec<String> =
        std::iter::once(head("Content-Length: 1000\r\n")).chain((0..100).map(|_| " ".to_owned())).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    let (reply, took) = talk(address, &pieces, limits().body_pause / 4).await;
    assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 408"), "a body by drips: {reply}");
    assert!(took < limits().body * 6, "{took:?}");
}

#[tokio::test]
async fn a_connection_serves_again_until_it_is_idle_for_too_long() {
    let world = World::start().await;
    let (address, _server) = serve(&world).await;
    let get = "GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n";
    let (reply, took) = talk(address, &[get, get], limits().head * 2).await;
    assert_eq!(reply.matches("HTTP/1.1 200").count(), 2, "an idle connection outlives the time for a head: {reply}");
    assert!(took + Duration::from_millis(100) >= limits().head * 2 + limits().idle, "{took:?}");
}

#[tokio::test]
async fn a_request_that_two_servers_could_cut_in_two_places_is_refused_and_closed() {
    let world = World::start().await;
    let (address, _server) = serve(&world).await;
    let smuggled = "0\r\n\r\nGET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n";
    for framing in
        ["Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n"]
    {
        let (reply, _) = talk(address, &[&(head(framing) + smuggled)], Duration::ZERO).await;
        assert!(reply.starts_with("HTTP/1.1 400"), "{reply}");
        assert_eq!(reply.matches("HTTP/1.1 ").count(), 1, "what was smuggled was answered: {reply}");
        assert!(reply.contains("can be read in two ways"), "{reply}");
        // The same behind another request, which it may hide in, and behind one whose body nobody reads.
        let get = "GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n".to_owned();
        let unread = "DELETE /api/v1/health HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n".to_owned();
        for (before, status) in [(get, "200"), (unread + "\r\n\r\n", "405")] {
            let (reply, _) = talk(address, &[&(before + &head(framing) + smuggled)], Duration::ZERO).await;
            let statuses: Vec<_> = reply.split("HTTP/1.1 ").skip(1).map(|one| &one[..3]).collect();
            assert_eq!(statuses, [status, "400"], "{reply}");
            assert!(reply.contains("can be read in two ways"), "{reply}");
        }
    }
    let (reply, _) =
        talk(address, &["GET /api/v1/health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"], Duration::ZERO).await;
    assert!(reply.starts_with("HTTP/1.1 400"), "{reply}");
    let chunked = head("Transfer-Encoding: chunked\r\n") + "2\r\n{}\r\n" + smuggled;
    let (reply, _) = talk(address, &[&chunked], Duration::ZERO).await;
    assert!(reply.starts_with("HTTP/1.1 422"), "{reply}");
    assert_eq!(reply.matches("HTTP/1.1 ").count(), 1, "a chunked request ends its connection: {reply}");
}

#[tokio::test]
async fn slow_peers_give_their_places_back() {
    let world = World::start().await;
    let (address, _server) = serve(&world).await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HT").await.unwrap();
        slow.push(stream);
    }
    let get = "GET /api/v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let (reply, _) = talk(address, &[get], Duration::ZERO).await;
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_closed() {
    let world = World::start().await;
    let (address, _server) = serve(&world).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let get = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n";
    let began = Instant::now();
    // It asks and asks, and takes nothing: sooner or later the server can send no more, and gives up on it.
    let sent = async { while stream.write_all(get.repeat(100).as_bytes()).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), sent).await.expect("the connection stays open");
    assert!(began.elapsed() >= limits().write_stall);
}

#[tokio::test]
async fn a_shutdown_finishes_what_runs_and_takes_nothing_new() {
    let world = World::start().await;
    let (address, server) = serve(&world).await;
    let idle = TcpStream::connect(address).await.unwrap();
    let agent = TestAgent::register(&world, "box-1").await;
    let claim = claim(&agent, "HTTP/1.1", 20_000);
    let parked = tokio::spawn(async move { talk(address, &[&claim], Duration::ZERO).await });
    until_parked(&world, &agent).await;
    world.state.closing().cancel();
    let (reply, took) = parked.await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("\"leases\":[]"), "{reply}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    tokio::time::timeout(Duration::from_secs(10), server).await.expect("the server does not stop").unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    drop(idle);
}

/// A parked agent is one whose channel is subscribed.
pub(crate) async fn until_parked(world: &World, agent: &TestAgent) {
    let client = redis::Client::open(world.redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let give_up = Instant::now() + Duration::from_secs(10);
    loop {
        let channels: Vec<String> = redis::cmd("PUBSUB").arg("CHANNELS").query_async(&mut connection).await.unwrap();
        if channels.iter().any(|channel| channel.ends_with(&agent.id)) {
            return;
        }
        assert!(Instant::now() < give_up, "the agent does not park: {channels:?}");
        tokio::task::yield_now().await;
    }
}
