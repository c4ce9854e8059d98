//! What it says.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{
    Asked, Manner, Shape, Shared,
    wire::{Gone, Wire},
};

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream; charset=utf-8";

pub(super) async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    let mut wire = Wire::new(stream);
    let mut is_used = false;
    while let Ok((method, asked)) = wire.request().await {
        if std::mem::replace(&mut is_used, true) && shared.state().once {
            return shared.change(|state| state.broken += 1);
        }
        let answered = if method == "POST" && asked.path.starts_with("/v1/") {
            let open = Open::new(&shared);
            let manner = note(&shared, &asked);
            let answered = answer(&mut wire, &shared, &asked, manner).await;
            open.close(answered == Err(Gone::Caller));
            answered
        } else {
            let (status, body) = list(&shared, &method, &asked);
            wire.whole(status, JSON, &body.to_string()).await
        };
        if answered.is_err() {
            return;
        }
    }
}

/// An answer that is being given; one that is dropped half-way is not open any more.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.change(|state| state.open += 1);
        Self(shared)
    }

    fn close(self, hung_up: bool) {
        self.0.change(|state| state.hung_up += usize::from(hung_up));
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.open -= 1);
    }
}

fn note(shared: &Shared, asked: &Asked) -> Manner {
    let mut manner = Manner::words(0);
    shared.change(|state| {
        state.asked.push(asked.clone());
        manner = state.next.pop_front().unwrap_or_else(|| state.usual.clone());
    });
    manner
}

/// The routes that are no request to a model.
fn list(shared: &Shared, method: &str, asked: &Asked) -> (u16, Value) {
    let state = shared.state();
    let tag = |model: &String| json!({ "name": model, "model": model, "size": 2_000_000_000_u64, "size_vram": 2_200_000_000_u64 });
    if state.starting {
        return (503, json!({ "error": { "message": "Loading model", "type": "unavailable_error", "code": 503 } }));
    }
    let body = match (shared.shape, asked.path.as_str()) {
        (_, "/v1/models") => {
            let owner = if shared.shape == Shape::Vllm { "vllm" } else { "harness" };
            let one = |model: &String| json!({ "id": model, "object": "model", "created": 0, "owned_by": owner });
            json!({ "object": "list", "data": state.models.iter().map(one).collect::<Vec<_>>() })
        }
        (Shape::Ollama, "/api/version") | (Shape::Vllm, "/version") => json!({ "version": "0.0.0-harness" }),
        (Shape::Ollama, "/api/tags") => json!({ "models": state.models.iter().map(tag).collect::<Vec<_>>() }),
        (Shape::Ollama, "/api/ps") => json!({ "models": state.loaded.iter().map(tag).collect::<Vec<_>>() }),
        (Shape::Ollama, "/api/pull") if method == "POST" => {
            let model = asked.json()["model"].as_str().unwrap_or_default().to_owned();
            drop(state);
            shared.change(|state| state.models.push(model));
            json!({ "status": "success" })
        }
        (Shape::LlamaCpp, "/props") => json!({ "total_slots": state.parallel, "model_path": "/models/small.gguf" }),
        (Shape::LlamaCpp, "/slots") => (0..state.parallel).map(|id| json!({ "id": id })).collect(),
        (Shape::LlamaCpp | Shape::Vllm, "/health") => json!({ "status": "ok" }),
        _ => return (404, json!({ "error": { "message": "no such route", "type": "not_found_error" } })),
    };
    (200, body)
}

async fn answer(wire: &mut Wire, shared: &Shared, asked: &Asked, manner: Manner) -> Result<(), Gone> {
    let request = Request::of(asked);
    let problem =
        |message: &str| json!({ "error": { "message": message, "type": "harness_error", "code": null } }).to_string();
    if !shared.state().models.contains(&request.model) {
        return wire.whole(404, JSON, &problem("no such model")).await;
    }
    load(wire, shared, &request.model).await?;
    match manner {
        Manner::Silence => return Err(wire.silence().await),
        Manner::Refuse { status, message } => return wire.whole(status, JSON, &problem(&message)).await,
        Manner::SlowHeaders { pause } => {
            wire.send(b"HTTP/1.1 200 X\r\n").await?;
            loop {
                wire.send(b"x-header: slow\r\n").await?;
                wire.pause(pause).await?;
            }
        }
        Manner::EndlessHeaders => {
            wire.send(b"HTTP/1.1 200 X\r\n").await?;
            loop {
                wire.send(format!("x-header: {}\r\n", "x".repeat(1_000)).as_bytes()).await?;
            }
        }
        Manner::NoHttp => {
            wire.send(b"\x16\x03\x01 this is no HTTP\r\n\r\n").await?;
            return Err(Gone::Own);
        }
        Manner::Page => return wire.whole(200, "text/html", "<html>Welcome to nginx!</html>").await,
        Manner::Redirect { to } => {
            let head = format!("HTTP/1.1 307 X\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
            return wire.send(head.as_bytes()).await;
        }
        manner => wire.head(200, if request.stream { EVENTS } else { JSON }).await.map(|()| manner),
    }?
    .body(wire, &request)
    .await
}

async fn load(wire: &mut Wire, shared: &Shared, model: &str) -> Result<(), Gone> {
    let wait = {
        let state = shared.state();
        if state.loaded.iter().any(|loaded| loaded == model) { Duration::ZERO } else { state.load }
    };
    wire.pause(wait).await?;
    shared.change(|state| {
        if !state.loaded.iter().any(|loaded| loaded == model) {
            state.loaded.push(model.to_owned());
        }
    });
    Ok(())
}

/// What of a request matters.
struct Request {
    path: String,
    model: String,
    stream: bool,
    with_usage: bool,
    /// The number of the first word: those that the message to go on with already has.
    from: usize,
    /// The tool that is called, which is the first of those that the request brings and shows no result of.
    tool: Option<String>,
}

impl Request {
    fn of(asked: &Asked) -> Self {
        let body = asked.json();
        let last = body["messages"].as_array().and_then(|messages| messages.last()).cloned().unwrap_or_default();
        let said = last["content"].as_str().filter(|_| last["role"] == "assistant").unwrap_or_default();
        Self {
            path: asked.path.clone(),
            model: body["model"].as_str().unwrap_or_default().to_owned(),
            stream: body["stream"] == true,
            with_usage: body["stream_options"]["include_usage"] == true,
            from: said.split_whitespace().count(),
            tool: body["tools"][0]["function"]["name"].as_str().filter(|_| last["role"] != "tool").map(str::to_owned),
        }
    }

    fn word(&self, word: usize) -> Vec<u8> {
        let text = format!("w{} ", self.from + word);
        let choice = if self.path.ends_with("/chat/completions") {
            json!({ "index": 0, "delta": { "content": text }, "finish_reason": null })
        } else {
            json!({ "index": 0, "text": text, "finish_reason": null })
        };
        event(&json!({ "id": "a-1", "object": "chat.completion.chunk", "model": self.model, "choices": [choice] }))
    }

    fn last_events(&self, words: usize) -> Vec<u8> {
        let finish = json!({ "index": 0, "delta": {}, "finish_reason": "stop" });
        let mut all = event(&json!({ "id": "a-1", "model": self.model, "choices": [finish] }));
        if self.with_usage {
            all.extend(event(&json!({ "id": "a-1", "choices": [], "usage": usage(words) })));
        }
        all.extend(b"data: [DONE]\n\n");
        all
    }

    fn document(&self, words: usize) -> String {
        let text: Vec<_> = (0..words).map(|word| format!("w{} ", self.from + word)).collect();
        let text = text.concat();
        let choice = match self.path.as_str() {
            "/v1/embeddings" => {
                let data = [json!({ "object": "embedding", "index": 0, "embedding": [0.25, -0.5] })];
                return json!({ "object": "list", "model": self.model, "data": data, "usage": { "prompt_tokens": 3, "total_tokens": 3 } }).to_string();
            }
            "/v1/completions" => json!({ "index": 0, "text": text, "finish_reason": "stop" }),
            _ => match &self.tool {
                Some(name) => {
                    let call = json!({ "name": name, "arguments": r#"{"city": "Bremen"}"# });
                    let call = json!({ "id": "call-1", "type": "function", "function": call });
                    let message = json!({ "role": "assistant", "content": null, "tool_calls": [call] });
                    json!({ "index": 0, "message": message, "finish_reason": "tool_calls" })
                }
                None => {
                    json!({ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" })
                }
            },
        };
        json!({ "id": "a-1", "object": "chat.completion", "model": self.model, "choices": [choice], "usage": usage(words) }).to_string()
    }
}

fn event(data: &Value) -> Vec<u8> {
    format!("data: {data}\n\n").into_bytes()
}

fn usage(words: usize) -> Value {
    json!({ "prompt_tokens": 3, "completion_tokens": words, "total_tokens": words + 3 })
}

impl Manner {
    /// The body, after a head was sent.
    async fn body(self, wire: &mut Wire, request: &Request) -> Result<(), Gone> {
        match self {
            Self::Words { words, pause } => {
                say(wire, request, words, pause).await?;
                if request.stream {
                    wire.chunk(&request.last_events(words)).await?;
                } else {
                    wire.chunk(request.document(words).as_bytes()).await?;
                }
                wire.end().await
            }
            Self::Stall { after } => {
                say(wire, request, after, Duration::ZERO).await?;
                Err(wire.silence().await)
            }
            Self::Drop { after } => {
                say(wire, request, after, Duration::ZERO).await?;
                Err(Gone::Own)
            }
            Self::CutOff { after } => {
                say(wire, request, after, Duration::ZERO).await?;
                if !request.stream {
                    wire.chunk(&request.document(after).as_bytes()[..20]).await?;
                }
                wire.end().await
            }
            Self::ErrorEvent { after } => {
                say(wire, request, after, Duration::ZERO).await?;
                let error = json!({ "error": { "message": "out of memory", "type": "server_error", "code": 500 } });
                wire.chunk(&event(&error)).await?;
                wire.end().await
            }
            Self::Garbage => {
                wire.chunk(b"\n\n\x01garbage {]\n\ndata: {]\n\n").await?;
                wire.end().await
            }
            Self::NoUtf8 => {
                say(wire, request, 1, Duration::ZERO).await?;
                wire.chunk(b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\xfe\"}}]}\n\n").await?;
                wire.end().await
            }
            Self::Endless => loop {
                if request.stream {
                    say(wire, request, 100, Duration::ZERO).await?;
                } else {
                    wire.chunk(" ".repeat(10_000).as_bytes()).await?;
                }
            },
            Self::EndlessEvent => {
                wire.chunk(b"data: \"").await?;
                loop {
                    wire.chunk("x".repeat(10_000).as_bytes()).await?;
                }
            }
            Self::Comments => loop {
                wire.chunk(b": alive\n\n").await?;
                wire.pause(Duration::from_millis(20)).await?;
            },
            Self::Exactly { body, piece } => {
                for piece in body.chunks(piece.max(1)) {
                    wire.chunk(piece).await?;
                }
                wire.end().await
            }
            // They have no body; answered before.
            _ => Ok(()),
        }
    }
}

/// The first words of an answer that is streamed; of another one, as long as they would take.
async fn say(wire: &mut Wire, request: &Request, words: usize, pause: Duration) -> Result<(), Gone> {
    for word in 0..words {
        wire.pause(pause).await?;
        if request.stream {
            wire.chunk(&request.word(word)).await?;
        }
    }
    Ok(())
}
