//! Requests to models: Ollama's own two, in the words of OpenAI's interface to the server behind, and those that are
//! OpenAI's already.

use reqwest::{Response, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::{Shared, routes::NOW};
use crate::backend::{
    Asked,
    wire::{Gone, Wire},
};

const JSON: &str = "application/json; charset=utf-8";
const LINES: &str = "application/x-ndjson";

/// What Ollama's own requests differ in.
struct Own {
    path: &'static str,
    /// Where a piece of text is in an event, and in a document.
    event_text: &'static str,
    document_text: &'static str,
    /// How Ollama gives a piece of text.
    given: fn(&str) -> (&'static str, Value),
}

const CHAT: Own = Own {
    path: "/v1/chat/completions",
    event_text: "/choices/0/delta/content",
    document_text: "/choices/0/message/content",
    given: |text| ("message", json!({ "role": "assistant", "content": text })),
};

const GENERATE: Own = Own {
    path: "/v1/completions",
    event_text: "/choices/0/text",
    document_text: "/choices/0/text",
    given: |text| ("response", json!(text)),
};

pub(super) async fn chat(wire: &mut Wire, shared: &Shared, model: &str, asked: &Value) -> Result<(), Gone> {
    own(wire, shared, model, asked, &CHAT, json!({ "messages": asked["messages"] })).await
}

pub(super) async fn generate(wire: &mut Wire, shared: &Shared, model: &str, asked: &Value) -> Result<(), Gone> {
    own(wire, shared, model, asked, &GENERATE, json!({ "prompt": asked["prompt"] })).await
}

/// Ollama streams unless it is told not to.
async fn own(
    wire: &mut Wire,
    shared: &Shared,
    model: &str,
    asked: &Value,
    own: &Own,
    mut body: Value,
) -> Result<(), Gone> {
    let stream = asked["stream"] != false;
    body["model"] = json!(shared.upstream_model);
    body["stream"] = json!(stream);
    if stream {
        body["stream_options"] = json!({ "include_usage": true });
    }
    for (name, of_openai) in [("num_predict", "max_tokens"), ("temperature", "temperature"), ("seed", "seed")] {
        if let Some(value) = asked["options"].get(name) {
            body[of_openai] = value.clone();
        }
    }
    let Ok(mut response) = ask(shared, own.path, body.to_string()).await else { return Err(Gone::Own) };
    load(shared, model);
    if !response.status().is_success() {
        let status = response.status().as_u16();
        let text = response.text().await.unwrap_or_default();
        return wire.whole(status, JSON, &json!({ "error": text }).to_string()).await;
    }
    if stream {
        return own_stream(wire, &mut response, model, own).await;
    }
    let document: Value = serde_json::from_str(&response.text().await.unwrap_or_default()).unwrap_or_default();
    let text = document.pointer(own.document_text).and_then(Value::as_str).unwrap_or_default();
    let mut whole = last(model, &document["usage"]);
    let (field, given) = (own.given)(text);
    whole[field] = given;
    wire.whole(200, JSON, &whole.to_string()).await
}

async fn own_stream(wire: &mut Wire, response: &mut Response, model: &str, own: &Own) -> Result<(), Gone> {
    wire.head(200, LINES).await?;
    let (mut read, mut usage) = (Vec::new(), Value::Null);
    while let Ok(Some(bytes)) = response.chunk().await {
        read.extend_from_slice(&bytes);
        while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = read.drain(..=end).collect();
            let Some(data) = line.strip_prefix(b"data: ") else { continue };
            let Ok(event) = serde_json::from_slice::<Value>(data) else { continue };
            if event["usage"].is_object() {
                usage = event["usage"].clone();
            }
            if let Some(text) = event.pointer(own.event_text).and_then(Value::as_str) {
                let (field, given) = (own.given)(text);
                let line = json!({ "model": model, "created_at": NOW, field: given, "done": false });
                wire.chunk(format!("{line}\n").as_bytes()).await?;
            }
        }
    }
    let mut end = last(model, &usage);
    let (field, given) = (own.given)("");
    end[field] = given;
    wire.chunk(format!("{end}\n").as_bytes()).await?;
    wire.end().await
}

/// What Ollama adds to the end of an answer.
fn last(model: &str, usage: &Value) -> Value {
    json!({
        "model": model, "created_at": NOW, "done": true, "done_reason": "stop", "total_duration": 1, "load_duration": 1,
        "prompt_eval_count": usage["prompt_tokens"], "prompt_eval_duration": 1,
        "eval_count": usage["completion_tokens"], "eval_duration": 1,
    })
}

/// A request of OpenAI's goes on as it is, but for the model's name, and its answer comes back as it is.
pub(super) async fn pass(wire: &mut Wire, shared: &Shared, model: &str, asked: &Asked) -> Result<(), Gone> {
    let mut body = asked.json();
    body["model"] = json!(shared.upstream_model);
    let Ok(mut response) = ask(shared, &asked.path, body.to_string()).await else { return Err(Gone::Own) };
    load(shared, model);
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or(JSON).to_owned();
    wire.head(response.status().as_u16(), &kind).await?;
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) => wire.chunk(&bytes).await?,
            Ok(None) => return wire.end().await,
            Err(_) => return Err(Gone::Own),
        }
    }
}

async fn ask(shared: &Shared, path: &str, body: String) -> Result<Response, reqwest::Error> {
    let url = format!("{}{path}", shared.upstream);
    shared.client.post(url).header(CONTENT_TYPE, "application/json").body(body).send().await
}

fn load(shared: &Shared, model: &str) {
    shared.change(|state| {
        if !state.loaded.iter().any(|loaded| loaded == model) {
            state.loaded.push(model.to_owned());
        }
    });
}
