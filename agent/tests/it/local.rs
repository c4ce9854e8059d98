//! What can be asked of an agent at its box.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    agent::{Agent, Start, sh, until},
    coordinator::{Coordinator, Misbehave},
    nvml::StandIn,
};

/// An agent that listens somewhere, and where.
pub(crate) async fn start(coordinator: &Coordinator, args: &[&str]) -> (Agent, String) {
    let agent = Start::of(coordinator).env("TITAN_LISTEN", "127.0.0.1:0").args(args).spawn();
    coordinator.next("heartbeat").await;
    until("it listens", || address(&agent).is_some()).await;
    let address = address(&agent).unwrap();
    (agent, address)
}

fn address(agent: &Agent) -> Option<String> {
    let log = agent.log();
    let (_, after) = log.split_once("are told at http://")?;
    Some(after.split_once('"')?.0.to_owned())
}

/// One request as it stands, and the whole reply.
async fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}

pub(crate) async fn get(address: &str, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")).await
}

pub(crate) async fn health(address: &str) -> Value {
    let reply = get(address, "/health").await;
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    serde_json::from_str(reply.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// The figure of that name and labels.
fn figure(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn health_tells_how_the_agent_stands_with_its_coordinator_and_always_that_it_lives() {
    let coordinator = Coordinator::start().await;
    let (_agent, address) = start(&coordinator, &[]).await;
    let well = health(&address).await;
    assert_eq!((&well["service"], &well["agent_id"]), (&json!("titancompute-agent"), &json!("box-1")));
    assert_eq!((&well["status"], &well["registered"]), (&json!("healthy"), &json!(true)));
    let age_ms = |health: &Value| health["last_heartbeat_age_ms"].as_u64().unwrap();
    assert!(age_ms(&well) < 5_000);
    coordinator.with(|s| (0..1_000).for_each(|_| s.misbehave("heartbeat", Misbehave::HangUp)));
    loop {
        let away = health(&address).await;
        if away["status"] == "waiting" {
            assert!(age_ms(&away) > 5_000);
            break;
        }
        assert!(age_ms(&away) <= 6_000, "{away}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_agent_that_cannot_register_yet_answers_that_it_waits() {
    let coordinator = Coordinator::start().await;
    coordinator.with(|s| (0..1_000).for_each(|_| s.misbehave("register", Misbehave::HangUp)));
    let agent = Start::of(&coordinator).env("TITAN_LISTEN", "127.0.0.1:0").spawn();
    until("it listens", || address(&agent).is_some()).await;
    let waiting = health(&address(&agent).unwrap()).await;
    assert_eq!((&waiting["status"], &waiting["registered"]), (&json!("waiting"), &json!(false)));
    assert_eq!(waiting["last_heartbeat_age_ms"], Value::Null);
}

#[tokio::test]
async fn metrics_tell_of_work_of_the_way_and_of_gpus_without_a_secret() {
    let coordinator = Coordinator::start().await;
    let library = StandIn::new("gpu GPU-a 24000 23000 7 41 NVIDIA_Test\n");
    let (agent, address) = start(&coordinator, &["--nvml-library", library.path().to_str().unwrap()]).await;
    let done = coordinator.give(sh("echo done"));
    coordinator.ended(&done).await;
    coordinator.with(|s| (0..1_000).for_each(|_| s.misbehave("report", Misbehave::HangUp)));
    let id = coordinator.give(sh("head -c 100000 /dev/zero; until [ -e go ]; do sleep 0.02; done"));
    let log = agent.folder(&id).join("log");
    until("it has written", || log.metadata().is_ok_and(|file| file.len() > 100_000)).await;
    let page = get(&address, "/metrics").await;
    assert!(page.contains("content-type: text/plain; version=0.0.4"), "{page}");
    let value = |name: &str| figure(&page, name).unwrap_or_else(|| panic!("{name} is missing in {page}"));
    assert!((value("titan_agent_registered") - 1.0).abs() < 0.1);
    assert!(value("titan_agent_heartbeats_total{outcome=\"ok\"}") >= 1.0);
    assert!((value("titan_agent_attempts{state=\"running\"}") - 1.0).abs() < 0.1);
    assert!((value("titan_agent_attempts_ended_total{how=\"completed\"}") - 1.0).abs() < 0.1);
    assert!(value("titan_agent_outbox_bytes") >= 100_000.0, "{page}");
    assert!(value("titan_agent_disk_free_bytes{folder=\"state\"}") > 1.0);
    assert!((value("titan_agent_gpu_temperature_celsius{gpu=\"GPU-a\"}") - 41.0).abs() < 0.1);
    assert!((value("titan_agent_gpu_free_bytes{gpu=\"GPU-a\"}") - 23_000.0 * 1_048_576.0).abs() < 1.0);
    for secret in ["join-secret", "credential-1", "token-1"] {
        assert!(!page.contains(secret), "{page}");
    }
}

#[tokio::test]
async fn a_page_of_a_stranger_cannot_ask_by_a_name_that_leads_here_and_nothing_can_be_changed() {
    let coordinator = Coordinator::start().await;
    let (_agent, address) = start(&coordinator, &[]).await;
    let rebound = ask(&address, "GET /metrics HTTP/1.1\r\nHost: evil.example:7070\r\n\r\n").await;
    assert!(rebound.starts_with("HTTP/1.1 421") && !rebound.contains("titan_agent"), "{rebound}");
    let nameless = ask(&address, "GET /health HTTP/1.0\r\n\r\n").await;
    assert!(nameless.starts_with("HTTP/1.0 421"), "{nameless}");
    let post = ask(&address, &format!("POST /health HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n")).await;
    assert!(post.starts_with("HTTP/1.1 405") && post.contains("allow: GET"), "{post}");
    assert!(get(&address, "/").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn askers_that_say_nothing_hold_nobody_up_for_long() {
    let coordinator = Coordinator::start().await;
    let (_agent, address) = start(&coordinator, &[]).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(&address).await.unwrap());
    }
    assert_eq!(health(&address).await["registered"], json!(true), "after those before it were closed");
}

#[tokio::test]
async fn a_taken_port_is_told_and_the_agent_works_all_the_same() {
    let coordinator = Coordinator::start().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = Start::of(&coordinator).env("TITAN_LISTEN", &taken.local_addr().unwrap().to_string()).spawn();
    let id = coordinator.give(sh("echo works"));
    assert_eq!(coordinator.ended(&id).await.output, b"works\n");
    assert!(agent.log().contains("cannot be listened at"), "{}", agent.log());
}
