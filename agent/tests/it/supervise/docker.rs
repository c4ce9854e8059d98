//! A stand-in for Docker: its HTTP interface on a socket, as far as the agent uses it. It keeps containers in memory; one
//! that runs is a scripted backend behind the port that was published for it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
    task::JoinHandle,
};

use super::program::forward;
use crate::backend::{Backend, Shape};

/// It, listening until it is dropped.
pub(super) struct Docker {
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
pub(super) struct State {
    /// Every container that was made, in order, with those that are gone.
    pub(super) made: Vec<Value>,
    /// Each call: its method and its path without the version.
    pub(super) calls: Vec<String>,
    /// Images that are there.
    pub(super) images: Vec<String>,
    /// What a start is refused with.
    pub(super) refuse_start: Option<String>,
    containers: BTreeMap<String, Container>,
}

struct Container {
    body: Value,
    running: Option<JoinHandle<()>>,
    exit_code: i64,
}

impl Docker {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        let shared = Arc::new(Shared::default());
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { folder, shared, server }
    }

    /// What the agent's `DOCKER_HOST` is to be.
    pub(super) fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    pub(super) fn with<T>(&self, what: impl FnOnce(&mut State) -> T) -> T {
        what(&mut self.shared.lock())
    }

    /// The containers that there are, and how many of them run.
    pub(super) fn count(&self) -> (usize, usize) {
        let state = self.shared.lock();
        (state.containers.len(), state.containers.values().filter(|container| container.running.is_some()).count())
    }

    /// Ends all that run, as if each had ended by itself with that code.
    pub(super) fn end_all(&self, code: i64) {
        self.shared.lock().containers.values_mut().for_each(|container| container.end(code));
        self.shared.changed.send_replace(());
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.server.abort();
        self.end_all(0);
    }
}

impl Container {
    fn end(&mut self, code: i64) {
        if let Some(running) = self.running.take() {
            running.abort();
            self.exit_code = code;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn runs(&self, id: &str) -> bool {
        self.lock().containers.get(id).is_some_and(|container| container.running.is_some())
    }
}

async fn serve(listener: UnixListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &shared));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Answer = Response<Full<Bytes>>;

fn reply(status: u16, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn json(status: u16, body: &Value) -> Answer {
    reply(status, body.to_string())
}

fn problem(status: u16, message: &str) -> Answer {
    json(status, &json!({ "message": message }))
}

async fn answer(request: Request<Incoming>, shared: &Arc<Shared>) -> Result<Answer, Infallible> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let path = match uri.path().strip_prefix("/v1.") {
        Some(rest) => rest.split_once('/').map_or(String::new(), |(_, path)| format!("/{path}")),
        None => uri.path().to_owned(),
    };
    let query = uri.query().unwrap_or_default().to_owned();
    shared.lock().calls.push(format!("{method} {path}"));
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let parts: Vec<_> = path.split('/').skip(1).collect();
    Ok(match (method, parts.as_slice()) {
        (Method::GET, ["version"]) => json(200, &json!({ "Version": "28.0.0-stand-in", "ApiVersion": "1.43" })),
        (Method::GET, ["containers", "json"]) => list(shared, &query),
        (Method::POST, ["containers", "create"]) => create(shared, &body),
        (Method::GET, ["images", .., "json"]) => {
            let image = path.strip_prefix("/images/").unwrap().strip_suffix("/json").unwrap();
            let is_there = shared.lock().images.iter().any(|there| there == image);
            if is_there { json(200, &json!({ "Id": image })) } else { problem(404, "no such image") }
        }
        (Method::POST, ["images", "create"]) => pull(shared, &query),
        (Method::POST, ["containers", id, "start"]) => start(shared, id).await,
        (Method::POST, ["containers", id, "stop"]) => end(shared, id, false),
        (Method::DELETE, ["containers", id]) => end(shared, id, true),
        (Method::POST, ["containers", id, "wait"]) => wait(shared, id).await,
        (Method::GET, ["containers", _, "logs"]) => {
            let said = b"it says something\n";
            let head = [1, 0, 0, 0, 0, 0, 0, u8::try_from(said.len()).unwrap()];
            reply(200, [&head[..], said].concat())
        }
        _ => problem(404, "page not found"),
    })
}

/// The value of one member of the query, whose escapes are those of JSON in a filter.
fn member(query: &str, name: &str) -> String {
    let url = reqwest::Url::parse(&format!("http://docker/?{query}")).unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn list(shared: &Shared, query: &str) -> Answer {
    let filters: Value = serde_json::from_str(&member(query, "filters")).unwrap();
    let wanted: Vec<_> = filters["label"].as_array().unwrap().iter().map(|label| label.as_str().unwrap()).collect();
    assert_eq!(member(query, "all"), "true");
    let state = shared.lock();
    let fits = |labels: &Value| {
        wanted.iter().all(|label| {
            let (name, value) = label.split_once('=').unwrap();
            labels[name] == value
        })
    };
    let found = state.containers.iter().filter(|(_, container)| fits(&container.body["Labels"]));
    let shown = found.map(|(id, container)| {
        let state = if container.running.is_some() { "running" } else { "exited" };
        json!({ "Id": id, "State": state, "Labels": container.body["Labels"] })
    });
    json(200, &shown.collect())
}

fn create(shared: &Shared, body: &[u8]) -> Answer {
    let body: Value = serde_json::from_slice(body).unwrap();
    let mut state = shared.lock();
    let id = format!("container-{}", state.made.len());
    state.made.push(body.clone());
    state.containers.insert(id.clone(), Container { body, running: None, exit_code: 0 });
    json(201, &json!({ "Id": id, "Warnings": [] }))
}

fn pull(shared: &Shared, query: &str) -> Answer {
    let image = member(query, "fromImage");
    if image.starts_with("missing/") {
        return reply(
            200,
            format!("{}\n", json!({ "errorDetail": { "message": "manifest unknown" }, "error": "manifest unknown" })),
        );
    }
    shared.lock().images.push(image);
    reply(200, format!("{}\n{}\n", json!({ "status": "Pulling" }), json!({ "status": "Done" })))
}

async fn start(shared: &Shared, id: &str) -> Answer {
    if let Some(message) = shared.lock().refuse_start.clone() {
        return problem(500, &message);
    }
    let body = shared.lock().containers[id].body.clone();
    let bindings = body["HostConfig"]["PortBindings"].as_object().unwrap().values().next().unwrap();
    let address = format!("{}:{}", bindings[0]["HostIp"].as_str().unwrap(), bindings[0]["HostPort"].as_str().unwrap());
    let shape = if body["Labels"]["titancompute.backend"] == "ollama" { Shape::Ollama } else { Shape::Vllm };
    let Ok(listener) = TcpListener::bind(address).await else { return problem(500, "the port is taken") };
    let running = tokio::spawn(forward(listener, Backend::like(shape).await));
    shared.lock().containers.get_mut(id).unwrap().running = Some(running);
    shared.changed.send_replace(());
    reply(204, "")
}

fn end(shared: &Shared, id: &str, remove: bool) -> Answer {
    let mut state = shared.lock();
    let Some(container) = state.containers.get_mut(id) else { return problem(404, "no such container") };
    container.end(143);
    if remove {
        state.containers.remove(id);
    }
    drop(state);
    shared.changed.send_replace(());
    reply(204, "")
}

async fn wait(shared: &Shared, id: &str) -> Answer {
    let mut changed = shared.changed.subscribe();
    while shared.runs(id) {
        let _ = changed.changed().await;
    }
    let code = shared.lock().containers.get(id).map(|container| container.exit_code);
    code.map_or_else(|| problem(404, "no such container"), |code| json(200, &json!({ "StatusCode": code })))
}
