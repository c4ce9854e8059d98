//! Connections on which nothing passes for a while: they are answered as if their buffers had not been given up.

use std::time::{Duration, Instant};

use titan_coordinator::server::Limits;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    agent::TestAgent,
    slow_peers::{claim, limits, serve, serve_within, talk, until_parked},
    world::{ADMIN, World, job},
};

const GET: &str = "GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n";
/// Much longer than until a connection is light.
const A_WHILE: Duration = Duration::from_millis(500);

#[tokio::test]
async fn what_came_behind_a_request_that_waits_is_answered_after_it_and_so_is_what_comes_later() {
    let world = World::start().await;
    let (address, _server) = serve_within(&world, Limits { head: Duration::from_secs(10), ..limits() }).await;
    let agent = TestAgent::register(&world, "box-1").await;
    assert!(limits().light * 5 < A_WHILE);
    let (begun, rest) = GET.split_at(30);
    let waits = claim(&agent, "HTTP/1.1", 300);
    // The beginning of a request comes behind the one that waits, and its end when the connection is light again.
    let pieces = [&(waits.clone() + GET + begun), rest, GET, &(waits + GET)];
    let (reply, _) = talk(address, &pieces, A_WHILE).await;
    let kinds: Vec<_> = reply.split("HTTP/1.1 ").skip(1).map(|one| (&one[..3], one.contains("leases"))).collect();
    let [waited, healthy] = [("200", true), ("200", false)];
    assert_eq!(kinds, [waited, healthy, healthy, healthy, waited, healthy], "{reply}");
}

#[tokio::test]
async fn an_answer_has_the_version_that_was_asked_in_and_ends_the_connection_if_that_was_asked() {
    let world = World::start().await;
    let (address, _server) = serve(&world).await;
    let agent = TestAgent::register(&world, "box-1").await;
    let (reply, took) = talk(address, &[&claim(&agent, "HTTP/1.0", 300)], Duration::ZERO).await;
    assert!(reply.starts_with("HTTP/1.0 200") && reply.contains("leases"), "{reply}");
    assert!(took < limits().idle, "{took:?}");
    let closes = claim(&agent, "HTTP/1.1", 300).replacen("Host: x", "Host: x\r\nConnection: close", 1);
    let (reply, took) = talk(address, &[&closes], Duration::ZERO).await;
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("connection: close"), "{reply}");
    assert!(took < limits().idle, "{took:?}");
}

#[tokio::test]
async fn a_peer_that_leaves_while_it_waits_is_noticed_whatever_came_behind_its_request() {
    let world = World::start().await;
    let (address, _server) = serve(&world).await;
    let agent = TestAgent::register(&world, "box-1").await;
    let waiting = async || {
        let figures = world.get(ADMIN, "/metrics").await;
        figures.body.lines().any(|line| line == "titan_http_requests_waiting 1")
    };
    for behind in ["", "\r\n", GET] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all((claim(&agent, "HTTP/1.1", 20_000) + behind).as_bytes()).await.unwrap();
        until_parked(&world, &agent).await;
        tokio::time::sleep(limits().light * 5).await;
        assert!(waiting().await, "it is there until it leaves");
        drop(stream);
        let give_up = Instant::now() + Duration::from_secs(10);
        while waiting().await {
            assert!(Instant::now() < give_up, "it is waited for still, behind which {behind:?} came");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn what_came_behind_two_requests_that_wait_is_lost_by_neither_however_much_it_is() {
    let world = World::start().await;
    let (address, _server) = serve(&world).await;
    let agent = TestAgent::register(&world, "box-1").await;
    let padded = |bytes: usize| GET.replacen("Host: x", &format!("Host: x\r\nX-Padding: {}", "a".repeat(bytes)), 1);
    let waits = claim(&agent, "HTTP/1.1", 300);
    // The first request has hyper read more at once, so that more comes ahead than a fresh connection of hyper's takes.
    let all = padded(9_000) + &waits + &waits + &padded(12_000) + GET;
    let (reply, _) = talk(address, &[&all], A_WHILE).await;
    let kinds: Vec<_> = reply.split("HTTP/1.1 ").skip(1).map(|one| (&one[..3], one.contains("leases"))).collect();
    let [waited, healthy] = [("200", true), ("200", false)];
    assert_eq!(kinds, [healthy, waited, waited, healthy, healthy], "{reply}");
}

/// What could be taken for a request is in the body, or behind the end that a chunked body has.
#[tokio::test]
async fn nothing_of_a_body_or_behind_a_chunked_one_is_taken_for_a_request() {
    let world = World::start().await;
    let (address, _server) = serve(&world).await;
    let agent = TestAgent::register(&world, "box-1").await;
    let waits = claim(&agent, "HTTP/1.1", 300);
    let (head, body) = waits.split_once("\r\n\r\n").unwrap();
    let length = head.rfind("Content-Length").unwrap();
    let chunked = format!("{}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n", &head[..length], body.len());
    let with_trailers = format!("{chunked}0\r\nX-A: b\r\n\r\n");
    let (reply, took) = talk(address, &[&(with_trailers.clone() + GET), GET], A_WHILE / 4).await;
    assert!(reply.contains("leases") && reply.matches("HTTP/1.1 ").count() == 1, "{reply}");
    assert!(took < limits().idle, "{took:?}");
    // The end of the body comes later than it takes for a connection to be light.
    let (reply, _) = talk(address, &[&chunked, "0\r\n", "X-A: b\r\n\r\n", GET], limits().light * 3).await;
    assert!(reply.contains("leases") && reply.matches("HTTP/1.1 ").count() == 1, "{reply}");
    // A body that nobody reads, as long as a request, before and after its connection is light.
    let unread = format!("DELETE /api/v1/health HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", GET.len());
    let (reply, _) = talk(address, &[&unread, GET, GET], A_WHILE / 4).await;
    assert_eq!(reply.matches("HTTP/1.1 ").count(), reply.matches("HTTP/1.1 405").count(), "{reply}");
    let (reply, _) = talk(address, &[&(unread + GET), GET], A_WHILE / 4).await;
    assert_eq!(reply.matches("HTTP/1.1 405").count(), 1, "{reply}");
    assert_eq!(reply.matches("HTTP/1.1 ").count(), 2, "{reply}");
}

#[tokio::test]
async fn a_request_that_expects_to_go_on_and_one_for_a_head_are_answered_in_their_form() {
    let world = World::start().await;
    let (address, _server) = serve(&world).await;
    let agent = TestAgent::register(&world, "box-1").await;
    let waits = claim(&agent, "HTTP/1.1", 300).replacen("Host: x", "Host: x\r\nExpect: 100-continue", 1);
    let end = waits.find("\r\n\r\n").unwrap() + 4;
    let (reply, _) = talk(address, &[&waits[..end], &waits[end..], GET], limits().light * 3).await;
    let statuses: Vec<_> = reply.split("HTTP/1.1 ").skip(1).map(|one| (&one[..3], one.contains("leases"))).collect();
    assert_eq!(statuses, [("100", false), ("200", true), ("200", false)], "{reply}");
    let made = world.post(ADMIN, "/api/v1/jobs", job(&["true"])).await.ok(202);
    let wish = format!(
        "HEAD /api/v1/jobs/{}?wait_ms=300 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\n\r\n",
        made["id"].as_str().unwrap()
    );
    let (reply, took) = talk(address, &[&(wish + GET)], A_WHILE).await;
    let mut replies = reply.split("HTTP/1.1 ").skip(1);
    let (head, healthy) = (replies.next().unwrap(), replies.next().unwrap());
    assert!(head.starts_with("200") && head.ends_with("\r\n\r\n"), "{reply}");
    assert!(healthy.contains("healthy") && replies.next().is_none(), "{reply}");
    assert!(took >= Duration::from_millis(300), "{took:?}");
}

#[tokio::test]
async fn a_shutdown_lets_a_request_that_waits_lightly_be_answered_and_ends_its_connection() {
    let world = World::start().await;
    let (address, server) = serve(&world).await;
    let agent = TestAgent::register(&world, "box-1").await;
    let waits = claim(&agent, "HTTP/1.1", 20_000);
    let pipelined = waits + GET;
    let parked = tokio::spawn(async move { talk(address, &[&pipelined], Duration::ZERO).await });
    until_parked(&world, &agent).await;
    tokio::time::sleep(limits().light * 5).await;
    world.state.closing().cancel();
    let (reply, took) = parked.await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("connection: close"), "{reply}");
    assert_eq!(reply.matches("HTTP/1.1 ").count(), 1, "nothing new is taken: {reply}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    tokio::time::timeout(Duration::from_secs(10), server).await.expect("the server does not stop").unwrap();
}
