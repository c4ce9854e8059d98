//! An agent that relays requests to a backend and does nothing else: for tests and benches of the coordinator's part alone.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use reqwest::Method;
use serde_json::Value;
use titan_api::{
    agents::{Facts, Model},
    client::Client,
    headers,
    ids::JobId,
    inference::{InferenceSpec, StreamedOutput, Usage},
    jobs::Reason,
    work::{Happening, HeldLease, Lease},
};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use crate::{
    coordinator::Coordinator,
    protocol_agent::{ProtocolAgent, Speaker},
};

/// Requests at once.
const PARALLEL: u32 = 256;
const WAIT_MS: u64 = 10_000;
const BEAT_EVERY: Duration = Duration::from_secs(5);

/// A running one. Dropping it ends it without a word.
#[derive(Debug)]
pub struct RelayingAgent {
    task: JoinHandle<()>,
}

impl RelayingAgent {
    /// Joins as `name` and serves `model` by a backend at `url` that has it loaded.
    pub async fn start(coordinator: &Coordinator, name: &str, model: &str, url: &str) -> Self {
        let agent = enter(coordinator, name, model).await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { task: tokio::spawn(run(agent, Backend { http, url: url.to_owned() })) }
    }
}

impl Drop for RelayingAgent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a box says that serves one model.
#[must_use]
pub fn facts(model: &str) -> Facts {
    let (name, backend) = (model.to_owned(), "openai".to_owned());
    let model = Model { name, vram_mb: 0, parallel: PARALLEL, loaded: true, backend, size_mb: None };
    Facts {
        hostname: "box".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        cpus: 8,
        ram_mb: 32_768,
        models: vec![model],
        max_jobs: 1,
        boot_id: "boot".into(),
        version: "0.1.0".into(),
        ..Facts::default()
    }
}

async fn enter(coordinator: &Coordinator, name: &str, model: &str) -> ProtocolAgent {
    let token = coordinator.join_token().await;
    ProtocolAgent::enter(&coordinator.anyone(), &token, name, &facts(model)).await
}

#[derive(Debug, Clone)]
struct Backend {
    http: reqwest::Client,
    url: String,
}

/// The attempts that it holds.
type Held = Arc<Mutex<BTreeMap<JobId, HeldLease>>>;

async fn run(mut agent: ProtocolAgent, backend: Backend) {
    let (held, speaker) = (Held::default(), Arc::new(agent.speaker()));
    let mut tasks = JoinSet::new();
    tasks.spawn(beat(Arc::clone(&speaker), Arc::clone(&held)));
    loop {
        let taken = u32::try_from(held.lock().unwrap().len()).unwrap();
        for lease in agent.claim_requests(PARALLEL - taken, WAIT_MS).await {
            held.lock().unwrap().insert(lease.job_id.clone(), lease.held());
            tasks.spawn(attempt(Arc::clone(&speaker), backend.clone(), lease, Arc::clone(&held)));
        }
        while tasks.try_join_next().is_some() {}
    }
}

async fn beat(speaker: Arc<Speaker>, held: Held) {
    for seq in 1.. {
        let leases = held.lock().unwrap().values().cloned().collect();
        speaker.beat(seq, leases).await;
        sleep(BEAT_EVERY).await;
    }
}

async fn attempt(speaker: Arc<Speaker>, backend: Backend, lease: Lease, all: Held) {
    let held = lease.held();
    let asked = lease.inference.unwrap();
    let started = speaker.report(&held, Happening::Started {});
    let ((), event) = tokio::join!(started, relay(&speaker.client, &backend, &held, &asked));
    speaker.report(&held, event).await;
    all.lock().unwrap().remove(&held.job_id);
}

/// Asks the backend and passes its answer on, as it comes.
async fn relay(client: &Client, backend: &Backend, held: &HeldLease, asked: &InferenceSpec) -> Happening {
    let failed = |reason, exit_code| Happening::Failed { reason, exit_code, signal: None, message: None };
    let request = backend.http.post(format!("{}{}", backend.url, asked.route.path()));
    let request = request.header("content-type", "application/json").body(asked.body.clone());
    let Ok(response) = request.send().await else { return failed(Reason::BackendFailed, None) };
    let status = response.status();
    if status.is_server_error() {
        return failed(Reason::BackendFailed, Some(i32::from(status.as_u16())));
    }
    let path = format!("/api/v1/jobs/{}/attempts/{}/stream", held.job_id, held.attempt);
    let upload = client.request(Method::POST, &path).header(headers::LEASE, held.lease_id.as_str());
    let sent = client.send(upload.body(reqwest::Body::wrap_stream(response.bytes_stream()))).await;
    let accepted = match sent {
        Ok(reply) => reply.json::<StreamedOutput>().await.is_ok(),
        Err(_) => false,
    };
    match accepted {
        false => failed(Reason::BackendFailed, None),
        true if status.is_client_error() => failed(Reason::BackendRejected, Some(i32::from(status.as_u16()))),
        true => Happening::Completed { result: None, message: None, usage: Some(Usage::default()) },
    }
}

/// A chat that asks for a streamed answer.
#[must_use]
pub fn chat(model: &str) -> Value {
    serde_json::json!({"model": model, "stream": true, "messages": [{"role": "user", "content": "hi"}]})
}
