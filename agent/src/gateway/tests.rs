//! The gateway within small bounds: an agent in this process, clients that dawdle, and backends that say nothing.

use std::{net::SocketAddr, time::Duration};

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use titan_api::problem::ProblemType;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::timeout,
};

use super::*;
use crate::{
    backends,
    config::{Config, RunArgs},
    reexec::Reexec,
    report, run,
    scripted_backend::{Backend, Manner},
    scripted_coordinator::{Coordinator, Misbehave, PATIENCE},
};

/// Short enough to be waited for, and long enough that a busy machine meets it.
const SHORT: Duration = Duration::from_millis(700);

struct World {
    coordinator: Coordinator,
    backend: Backend,
    agent: Arc<Agent>,
    address: SocketAddr,
    key: KeyPair,
    _tasks: JoinSet<()>,
    _state: tempfile::TempDir,
}

/// An agent whose gateway has these bounds.
async fn world(bounds: Bounds) -> World {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    // The modulus of a key of this size is always in this place.
    let n = URL_SAFE_NO_PAD.encode(&der.as_ref()[33..289]);
    coordinator.with(|s| s.key_set = json!({ "keys": [{ "kty": "RSA", "kid": "k1", "n": n, "e": "AQAB" }] }));
    let state = tempfile::tempdir().unwrap();
    std::fs::write(state.path().join("token"), "join-secret").unwrap();
    let args = RunArgs {
        coordinators: vec![coordinator.url.clone()],
        join_token_file: Some(state.path().join("token")),
        state_dir: Some(state.path().join("state")),
        backends: vec![format!("openai={}", backend.url()).parse().unwrap()],
        probe_backends: Some(false),
        ..RunArgs::default()
    };
    let agent = Arc::new(run::assemble(Config::check(&args).unwrap(), Reexec::default()).unwrap());
    backends::first_look(&agent).await;
    run::enter(&agent).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(report::run(Arc::clone(&agent)));
    tasks.spawn(door::serve(Arc::new(Gateway::new(Arc::clone(&agent), bounds)), listener));
    World { coordinator, backend, agent, address, key, _tasks: tasks, _state: state }
}

impl World {
    fn ticket(&self, request: &str) -> String {
        let now_s = self.agent.registration.now_s();
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({ "alg": "RS256", "typ": "titan-ticket+jwt", "kid": "k1" });
        let claims = json!({
            "iss": "titan-coordinator", "aud": "box-1", "jti": request, "model": "small", "iat": now_s + 1, "exp": now_s + 300,
        });
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The head of a request, with what says where its body ends.
    fn head(&self, ticket: &str, framing: &str) -> String {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {ticket}\r\n{framing}\r\n\r\n",
            self.address
        )
    }

    fn request(&self, ticket: &str, stream: bool) -> String {
        let body = json!({ "model": "small", "stream": stream, "messages": [{ "role": "user", "content": "go" }] });
        let body = body.to_string();
        self.head(ticket, &format!("content-length: {}", body.len())) + &body
    }

    /// What comes in answer to that over a connection of its own, until that is closed.
    async fn ask(&self, ticket: &str, stream: bool) -> String {
        let mut connection = self.connect().await;
        let request = self.request(ticket, stream).replace("host:", "connection: close\r\nhost:");
        // One that is not let in may break before it is written.
        let _ = connection.write_all(request.as_bytes()).await;
        rest_of(&mut connection).await
    }

    /// Asks again and again until the answer has that status.
    async fn until_told(&self, ticket: &str, status: &str) {
        let wanted = format!("HTTP/1.1 {status} ");
        let asking = async { while !self.ask(ticket, false).await.starts_with(&wanted) {} };
        timeout(PATIENCE, asking).await.expect("the status comes");
    }

    /// Waits until the agent holds nothing any more.
    async fn until_free(&self) {
        let mut count = self.agent.attempts.count();
        timeout(PATIENCE, count.wait_for(|held| *held == 0)).await.unwrap().unwrap();
    }
}

/// Everything that still comes, whether the connection is closed in peace or breaks.
async fn rest_of(connection: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, connection.read_to_end(&mut bytes)).await.expect("the connection is closed");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Checks that it is a failure as a coordinator would tell it.
fn is_failure(reply: &str, failure: titan_api::openai::Failure) {
    assert!(reply.starts_with(&format!("HTTP/1.1 {} ", failure.status)), "{reply}");
    is_error(reply.split_once("\r\n\r\n").unwrap().1, failure);
}

fn is_error(text: &str, failure: titan_api::openai::Failure) {
    let error = serde_json::from_str::<Value>(text).unwrap()["error"].clone();
    assert_eq!((&error["code"], &error["type"]), (&json!(failure.code), &json!(failure.kind)), "{text}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up_and_holds_neither_slot_nor_connection() {
    let world = world(Bounds { stall: SHORT, ..Bounds::default() }).await;
    world.backend.next(Manner::Endless);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut client = socket.connect(world.address).await.unwrap();
    let began = Instant::now();
    client.write_all(world.request(&world.ticket("request-1"), true).as_bytes()).await.unwrap();
    let end = world.coordinator.ended("direct-1").await.end.unwrap();
    assert_eq!((&end["reason"], &end["exit_code"]), (&json!("backend_rejected"), &json!(499)), "{end}");
    assert!(began.elapsed() >= SHORT);
    world.backend.until_hung_up(1).await;
    world.until_free().await;
    let got = rest_of(&mut client).await;
    assert!(got.contains("w0 ") && !got.contains("[DONE]"), "what fitted on the way is all that it has");
}

#[tokio::test]
async fn a_body_that_dawdles_ends_as_it_does_at_a_coordinator_and_the_ticket_stays_good() {
    let world = world(Bounds { body: 3 * SHORT, ..Bounds::default() }).await;
    let ticket = world.ticket("request-1");
    let mut slow = world.connect().await;
    slow.write_all((world.head(&ticket, "content-length: 100") + "{\"model\"").as_bytes()).await.unwrap();
    let mut second = world.connect().await;
    second.write_all((world.head(&ticket, "content-length: 100") + "{").as_bytes()).await.unwrap();
    let mut status = [0; 12];
    second.read_exact(&mut status).await.unwrap();
    assert_eq!(status, *b"HTTP/1.1 410", "one ticket is good for one body in memory");
    is_failure(&rest_of(&mut slow).await, ProblemType::RequestTimeout.into());
    assert!(world.ask(&ticket, false).await.starts_with("HTTP/1.1 200"));
    let mut broken = world.connect().await;
    let wrong = world.head(&world.ticket("request-2"), "transfer-encoding: chunked") + "no length\r\n";
    broken.write_all(wrong.as_bytes()).await.unwrap();
    is_failure(&rest_of(&mut broken).await, ProblemType::BadRequest.into());
}

#[tokio::test]
async fn a_backend_that_says_nothing_is_told_as_a_coordinator_tells_it() {
    let world = world(Bounds { first_token: SHORT, token: SHORT, document: SHORT, ..Bounds::default() }).await;
    for (n, stream) in [true, false].into_iter().enumerate() {
        world.backend.next(Manner::Silence);
        let reply = world.ask(&world.ticket(&format!("request-{n}")), stream).await;
        is_failure(&reply, ProblemType::BackendStalled.into());
        assert!(reply.starts_with("HTTP/1.1 504 "), "{reply}");
    }
    world.backend.next(Manner::Stall { after: 2 });
    let broken = world.ask(&world.ticket("request-2"), true).await;
    assert!(broken.starts_with("HTTP/1.1 200 ") && broken.contains("w1 "), "{broken}");
    let last = broken.lines().rfind(|line| line.starts_with("data: ")).unwrap();
    is_error(last.strip_prefix("data: ").unwrap(), ProblemType::BackendStalled.into());
}

#[tokio::test]
async fn one_address_does_not_close_the_door_to_others() {
    let world = world(Bounds { connections: 6, per_neighbour: 4, head: 5 * PATIENCE, ..Bounds::default() }).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(world.connect().await);
    }
    assert_eq!(rest_of(&mut world.connect().await).await, "", "it has as many as it may");
    if cfg!(target_os = "linux") {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut other = socket.connect(world.address).await.unwrap();
        let request = world.request(&world.ticket("request-1"), false).replace("host:", "connection: close\r\nhost:");
        other.write_all(request.as_bytes()).await.unwrap();
        let reply = rest_of(&mut other).await;
        assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    }
    held.pop();
    world.until_told("none", "401").await;
}

#[tokio::test]
async fn a_client_that_goes_away_while_its_ticket_is_used_can_bring_it_again() {
    let world = world(Bounds::default()).await;
    let ticket = world.ticket("request-1");
    world.coordinator.with(|s| s.misbehave("use", Misbehave::Hang));
    let mut hasty = world.connect().await;
    hasty.write_all(world.request(&ticket, false).as_bytes()).await.unwrap();
    world.coordinator.until("the ticket is being used", |s| s.last("use").map(drop)).await;
    drop(hasty);
    // Until the gateway has seen it go the ticket is taken.
    world.until_told(&ticket, "200").await;
    world.until_free().await;
    assert!(world.ask(&ticket, false).await.starts_with("HTTP/1.1 410 "), "it is good once");
}

#[tokio::test]
async fn nothing_is_taken_for_a_request_after_a_body_that_a_proxy_may_measure_otherwise() {
    let world = world(Bounds::default()).await;
    let mut connection = world.connect().await;
    let both = "content-length: 5\r\ntransfer-encoding: chunked";
    let two =
        world.head(&world.ticket("request-1"), both) + "0\r\n\r\n" + &world.request(&world.ticket("request-2"), false);
    connection.write_all(two.as_bytes()).await.unwrap();
    let replies = rest_of(&mut connection).await;
    assert_eq!((replies.matches("HTTP/1.1 ").count(), world.backend.asked().len()), (1, 0), "{replies}");
}
