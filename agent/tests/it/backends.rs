//! Backends: what they serve is told as it comes and goes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    agent::{Agent, Start, until},
    backend::{Backend, Shape},
    coordinator::Coordinator,
    loops::hindrances,
};

fn agent(coordinator: &Coordinator, backends: &[(&str, &str)]) -> Agent {
    let named: Vec<_> = backends.iter().map(|(kind, url)| format!("--backend={kind}={url}")).collect();
    Start::of(coordinator).args(&named.iter().map(String::as_str).collect::<Vec<_>>()).spawn()
}

/// Waits until the models that were told last are like this.
pub(crate) async fn told(coordinator: &Coordinator, name: &str, like: impl Fn(&Value) -> bool) -> Value {
    coordinator
        .until(name, |s| {
            let calls = s.calls.iter().rev();
            let models = calls.filter_map(|call| match call.verb.as_str() {
                "heartbeat" => Some(call.body["models"].clone()).filter(Value::is_array),
                "register" => Some(call.body["facts"]["models"].clone()),
                _ => None,
            });
            models.take(1).find(&like)
        })
        .await
}

pub(crate) fn names(models: &Value) -> Vec<&str> {
    models.as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn each_kind_tells_what_it_knows_of_its_models() {
    let coordinator = Coordinator::start().await;
    let (ollama, llamacpp) = (Backend::like(Shape::Ollama).await, Backend::like(Shape::LlamaCpp).await);
    let vllm = Backend::like(Shape::Vllm).await;
    ollama.serve(&["a"]);
    llamacpp.serve(&["b"]);
    llamacpp.parallel(7);
    vllm.serve(&["c"]);
    let _agent = agent(&coordinator, &[("ollama", ollama.url()), ("llamacpp", llamacpp.url()), ("vllm", vllm.url())]);
    let models = told(&coordinator, "three models are told", |models| names(models).len() == 3).await;
    let seen: Vec<_> = models
        .as_array()
        .unwrap()
        .iter()
        .map(|m| json!([m["name"], m["backend"], m["parallel"], m["loaded"], m["size_mb"]]))
        .collect();
    assert_eq!(seen[0], json!(["a", "ollama", 1, true, 1_908]));
    assert_eq!(seen[1], json!(["b", "llamacpp", 7, true, null]));
    assert_eq!(seen[2], json!(["c", "vllm", 32, true, null]));
}

#[tokio::test]
async fn a_model_that_comes_or_goes_is_told_within_a_heartbeat() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    // So that only a heartbeat before its time can tell.
    coordinator.with(|s| s.next_heartbeat_ms = 20_000);
    let _agent = agent(&coordinator, &[("openai", backend.url())]);
    told(&coordinator, "one is told", |models| names(models) == ["small"]).await;
    for now in [&["small", "other"][..], &["other"]] {
        let begun = Instant::now();
        backend.serve(now);
        let mut sorted = now.to_vec();
        sorted.sort_unstable();
        told(&coordinator, &format!("{now:?} are told"), |models| names(models) == sorted).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    let begun = Instant::now();
    drop(backend);
    told(&coordinator, "none is told", |models| names(models).is_empty()).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_backend_that_serves_nothing_hinders_the_agent_until_it_does() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::like(Shape::LlamaCpp).await);
    coordinator.with(|s| s.next_heartbeat_ms = 20_000);
    let _agent = agent(&coordinator, &[("llamacpp", backend.url())]);
    told(&coordinator, "one is told", |models| names(models) == ["small"]).await;
    hindrances(&coordinator, "nothing hinders it", <[String]>::is_empty).await;
    backend.starts(true);
    let begins = format!("inference: llamacpp at {} serves nothing now: ", backend.url());
    let by = hindrances(&coordinator, "it is told that it loads", |by| !by.is_empty()).await;
    assert_eq!(by, [format!("{begins}/v1/models answers 503 Service Unavailable, as one does that is still loading")]);
    backend.starts(false);
    hindrances(&coordinator, "it serves again", <[String]>::is_empty).await;
    drop(backend);
    let by = hindrances(&coordinator, "it is told that nobody answers", |by| !by.is_empty()).await;
    assert!(by.len() == 1 && by[0].starts_with(&format!("{begins}nobody answers: ")), "{by:?}");
}

#[tokio::test]
async fn what_a_backend_says_is_not_told_to_the_pool() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4_096]).await;
            let said = r#"{"data": "canary-of-a-backend"}"#;
            let answer =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{said}", said.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let coordinator = Coordinator::start().await;
    let agent = agent(&coordinator, &[("openai", &url)]);
    let by = hindrances(&coordinator, "it is told that it serves nothing", |by| !by.is_empty()).await;
    assert!(by[0].contains("the answer of /v1/models is not as it should be at line 1, column 30"), "{by:?}");
    assert!(!by[0].contains("canary") && !agent.log().contains("canary"), "{by:?}");
}

#[tokio::test]
async fn a_backend_that_closes_its_connections_without_a_word_still_serves() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::like(Shape::LlamaCpp).await);
    let agent = agent(&coordinator, &[("llamacpp", backend.url())]);
    told(&coordinator, "one is told", |models| names(models) == ["small"]).await;
    backend.answer_once();
    backend.until_broken(4).await;
    assert!(!agent.log().contains("serves nothing now"), "{}", agent.log());
    drop(backend);
    told(&coordinator, "none is told", |models| names(models).is_empty()).await;
    assert!(agent.log().contains("serves nothing now"), "{}", agent.log());
}

#[tokio::test]
async fn backends_that_lie_in_bulk_are_held_to_bounds() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    let many: Vec<_> = (0..400).map(|n| format!("model-{n:03}")).collect();
    let long = "x".repeat(500);
    let all: Vec<_> = many.iter().map(String::as_str).chain([long.as_str(), "", " a", "b\n"]).collect();
    backend.serve(&all);
    let agent = agent(&coordinator, &[("openai", backend.url()), ("ollama", "http://127.0.0.1:1")]);
    let models = told(&coordinator, "models are told", |models| !names(models).is_empty()).await;
    assert_eq!((names(&models).len(), names(&models)[255]), (256, "model-255"));
    let claim = coordinator.next("claim").await;
    assert_eq!(claim.body["free_requests"], 252, "what a heartbeat can list, less the slots of jobs");
    until("the other one is told of", || agent.log().contains("serves nothing now")).await;
}
