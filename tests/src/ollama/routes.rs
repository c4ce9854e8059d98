//! Which route does what.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{Shared, library, requests, whole};
use crate::backend::{
    Asked,
    wire::{Gone, Wire},
};

const JSON: &str = "application/json; charset=utf-8";
/// Nothing here is about time.
pub(super) const NOW: &str = "2026-01-01T00:00:00.000000Z";

pub(super) async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    let mut wire = Wire::new(stream);
    while let Ok((method, asked)) = wire.request().await {
        let answered = answer(&mut wire, &shared, &method, &asked).await;
        if answered.is_err() {
            return shared.change(|state| state.hung_up += usize::from(answered == Err(Gone::Caller)));
        }
    }
}

async fn answer(wire: &mut Wire, shared: &Shared, method: &str, asked: &Asked) -> Result<(), Gone> {
    let body = asked.json();
    if method == "POST" {
        shared.change(|state| state.asked.push((asked.path.clone(), body.clone())));
    }
    let model = whole(body["model"].as_str().or(body["name"].as_str()).unwrap_or_default());
    let (status, reply) = match (method, asked.path.as_str()) {
        ("GET", "/api/version") => (200, json!({ "version": "0.0.0-shim" })),
        ("GET", "/api/tags") => (200, json!({ "models": on_disk(shared) })),
        ("GET", "/api/ps") => (200, json!({ "models": loaded(shared) })),
        ("GET", "/v1/models") => (200, json!({ "object": "list", "data": openai(shared) })),
        ("POST", "/api/pull") => return library::pull(wire, shared, &model, body["stream"] != false).await,
        ("DELETE", "/api/delete") if shared.state().disk.contains_key(&model) => {
            shared.change(|state| {
                state.disk.remove(&model);
                state.loaded.retain(|loaded| *loaded != model);
            });
            (200, Value::Null)
        }
        ("POST", "/api/show" | "/api/chat" | "/api/generate") | ("DELETE", "/api/delete")
            if !shared.state().disk.contains_key(&model) =>
        {
            (404, json!({ "error": format!("model '{model}' not found") }))
        }
        ("POST", path) if path.starts_with("/v1/") && !shared.state().disk.contains_key(&model) => {
            let message = format!("model '{model}' not found");
            (404, json!({ "error": { "message": message, "type": "api_error", "param": null, "code": null } }))
        }
        ("POST", "/api/show") => (200, shown(&model)),
        ("POST", "/api/chat") => return requests::chat(wire, shared, &model, &body).await,
        ("POST", "/api/generate") => return requests::generate(wire, shared, &model, &body).await,
        ("POST", path) if path.starts_with("/v1/") => return requests::pass(wire, shared, &model, asked).await,
        _ => return wire.whole(404, "text/plain", "404 page not found").await,
    };
    let text = if reply.is_null() { String::new() } else { reply.to_string() };
    wire.whole(status, JSON, &text).await
}

fn details() -> Value {
    json!({
        "parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"], "parameter_size": "135M",
        "quantization_level": "Q4_1",
    })
}

fn entry(model: &str, bytes: u64) -> Value {
    json!({
        "name": model, "model": model, "modified_at": NOW, "size": bytes, "digest": library::digest(model),
        "details": details(),
    })
}

fn on_disk(shared: &Shared) -> Vec<Value> {
    shared.state().disk.iter().map(|(model, bytes)| entry(model, *bytes)).collect()
}

fn loaded(shared: &Shared) -> Vec<Value> {
    let state = shared.state();
    let on_disk = |model: &String| {
        let bytes = state.disk.get(model).copied()?;
        let mut entry = entry(model, bytes);
        entry["expires_at"] = json!(NOW);
        entry["size_vram"] = json!(bytes);
        Some(entry)
    };
    state.loaded.iter().filter_map(on_disk).collect()
}

fn openai(shared: &Shared) -> Vec<Value> {
    let one = |model: &String| json!({ "id": model, "object": "model", "created": 0, "owned_by": "library" });
    shared.state().disk.keys().map(one).collect()
}

fn shown(model: &str) -> Value {
    json!({
        "modelfile": format!("FROM {model}"), "parameters": "", "template": "{{ .Prompt }}", "details": details(),
        "model_info": { "general.architecture": "llama" }, "capabilities": ["completion"], "modified_at": NOW,
    })
}
