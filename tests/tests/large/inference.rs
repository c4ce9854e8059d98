//! Requests to models through a whole installation: a client of OpenAI's interface, a coordinator, agents that only call
//! out, and a backend behind them.

use std::time::{Duration, Instant};

use reqwest::{Method, Response};
use serde_json::{Value, json};
use titan_api::client::Client;
use titan_tests::{
    backend::{Backend, Manner},
    fleet::Fleet,
    wait::eventually,
};

async fn fleet_of(backend: &Backend, agents: usize) -> (Fleet, Client) {
    let named = format!("openai={}", backend.url());
    let fleet = Fleet::plan().agents(agents).agent_setting("TITAN_BACKENDS", &named).start().await;
    let client = fleet.client().await;
    let listed = async || {
        let list: Value = client.get("/v1/models").await.ok()?;
        list["data"].as_array()?.iter().any(|model| model["id"] == "small").then_some(())
    };
    eventually("the model is listed", listed).await;
    (fleet, client)
}

async fn chat(client: &Client, stream: bool) -> Response {
    let body = json!({ "model": "small", "stream": stream, "messages": [{ "role": "user", "content": "go" }] });
    client.request(Method::POST, "/v1/chat/completions").json(&body).send().await.unwrap()
}

/// Reads until `text` has come.
async fn read_until(response: &mut Response, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let part = response.chunk().await.unwrap().unwrap_or_else(|| panic!("no {text:?} in {read}"));
        read.push_str(std::str::from_utf8(&part).unwrap());
    }
    read
}

#[tokio::test]
async fn a_client_gets_a_models_answer_token_by_token_and_whole() {
    let backend = Backend::start().await;
    let (_fleet, client) = fleet_of(&backend, 1).await;
    backend.next(Manner::slow_words(10, 50));
    let mut streamed = chat(&client, true).await;
    assert_eq!(streamed.status(), 200);
    let early = read_until(&mut streamed, "w1 ").await;
    assert!(!early.contains("w9 "), "nothing is held back: {early}");
    let rest = read_until(&mut streamed, "[DONE]").await;
    assert!(rest.contains("w9 "), "{rest}");
    let whole: Value = chat(&client, false).await.json().await.unwrap();
    assert_eq!(whole["choices"][0]["message"]["content"], "w0 w1 w2 w3 w4 ");
}

#[tokio::test]
async fn a_backend_that_fails_before_its_first_token_is_not_noticed_by_the_client() {
    let backend = Backend::start().await;
    let (_fleet, client) = fleet_of(&backend, 2).await;
    backend.next(Manner::refuse(500));
    backend.next(Manner::Drop { after: 0 });
    let mut streamed = chat(&client, true).await;
    assert!(read_until(&mut streamed, "[DONE]").await.contains("w4 "));
    assert_eq!(backend.asked().len(), 3);
}

#[tokio::test]
async fn a_client_that_goes_away_stops_the_backend_within_a_second() {
    let backend = Backend::start().await;
    let (_fleet, client) = fleet_of(&backend, 1).await;
    backend.next(Manner::slow_words(10_000, 20));
    let mut streamed = chat(&client, true).await;
    read_until(&mut streamed, "w3 ").await;
    let left = Instant::now();
    drop(streamed);
    backend.until_hung_up(1).await;
    assert!(left.elapsed() < Duration::from_secs(1), "{:?}", left.elapsed());
}
