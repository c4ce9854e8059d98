//! The scripted backend: what it says, and what it sees of its callers.

use std::time::Duration;

use serde_json::{Value, json};
use titan_tests::backend::{Backend, Manner, Shape};

fn request(stream: bool) -> Value {
    let messages = [json!({ "role": "user", "content": "go" })];
    json!({ "model": "small", "stream": stream, "stream_options": { "include_usage": true }, "messages": messages })
}

async fn ask(backend: &Backend, body: &Value) -> reqwest::Response {
    let url = format!("{}/v1/chat/completions", backend.url());
    reqwest::Client::new().post(url).json(body).send().await.unwrap()
}

#[tokio::test]
async fn a_scripted_answer_counts_words_streamed_or_not_and_goes_on_where_a_message_ends() {
    let backend = Backend::start().await;
    let streamed = ask(&backend, &request(true)).await.text().await.unwrap();
    assert_eq!(streamed.matches("\"content\":\"w").count(), 5);
    assert!(streamed.contains("\"completion_tokens\":5") && streamed.ends_with("data: [DONE]\n\n"), "{streamed}");
    let whole: Value = ask(&backend, &request(false)).await.json().await.unwrap();
    assert_eq!(whole["choices"][0]["message"]["content"], "w0 w1 w2 w3 w4 ");
    let mut more = request(false);
    more["messages"].as_array_mut().unwrap().push(json!({ "role": "assistant", "content": "w0 w1 " }));
    let more: Value = ask(&backend, &more).await.json().await.unwrap();
    assert_eq!(more["choices"][0]["message"]["content"], "w2 w3 w4 w5 w6 ");
    assert_eq!((backend.asked().len(), backend.open(), backend.hung_up()), (3, 0, 0));
}

#[tokio::test]
async fn a_scripted_backend_sees_who_hangs_up_and_fails_as_it_is_told() {
    let backend = Backend::like(Shape::Ollama).await;
    backend.next(Manner::Stall { after: 2 });
    let mut answer = ask(&backend, &request(true)).await;
    assert!(answer.chunk().await.unwrap().is_some());
    assert_eq!(backend.open(), 1);
    drop(answer);
    backend.until_hung_up(1).await;
    backend.next(Manner::refuse(503));
    assert_eq!(ask(&backend, &request(true)).await.status(), 503);
    backend.next(Manner::Drop { after: 1 });
    assert!(ask(&backend, &request(true)).await.text().await.is_err());
    backend.unload(Duration::from_millis(50));
    let loaded = || async { reqwest::get(format!("{}/api/ps", backend.url())).await.unwrap().json::<Value>().await };
    assert_eq!(loaded().await.unwrap()["models"], json!([]));
    assert_eq!(ask(&backend, &request(false)).await.status(), 200);
    assert_eq!(loaded().await.unwrap()["models"][0]["name"], "small");
    assert_eq!((backend.hung_up(), backend.until_asked(4).await.path.as_str()), (1, "/v1/chat/completions"));
}
