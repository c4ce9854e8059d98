//! A shim with Ollama's routes. A real Ollama can't be had where these tests run, so this is none: it stands before a
//! server that speaks OpenAI's interface (a real llama.cpp server, or a scripted backend), gives that server's one model
//! the names of all that are on its disk, and has a library to pull more from. `tests/large/ollama.rs` tries it with
//! Ollama's own client for Python.
//!
//! Like the scripted backend, it knows nothing of the rest of the harness, so the agent's own tests use this very file.

mod library;
mod requests;
mod routes;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout_at},
};

pub use library::{Fate, Offer};

/// No wait in a test takes this long unless something is broken.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running shim; it stops, and hangs up on everybody, when it is dropped.
#[derive(Debug)]
pub struct OllamaShim {
    url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    /// Who answers: a URL, and what its model is called there.
    upstream: String,
    upstream_model: String,
    client: reqwest::Client,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes of each model on the disk.
    disk: BTreeMap<String, u64>,
    loaded: Vec<String>,
    /// What can be pulled.
    library: BTreeMap<String, Offer>,
    /// Pieces that a pull which broke off has left.
    kept: BTreeMap<String, u32>,
    asked: Vec<(String, Value)>,
    pulls: usize,
    hung_up: usize,
}

impl OllamaShim {
    /// One before `upstream`, whose model is called `model` there. It has no model itself.
    pub async fn before(upstream: &str, model: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            upstream_model: model.to_owned(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            state: Mutex::default(),
            changed: watch::Sender::new(()),
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { url, shared, server }
    }

    /// Its URL, without a path.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Has this model on its disk from now on.
    pub fn has(&self, model: &str, bytes: u64) {
        self.shared.change(|state| {
            state.disk.insert(model.to_owned(), bytes);
        });
    }

    /// The library has this model from now on.
    pub fn offers(&self, model: &str, offer: Offer) {
        self.shared.change(|state| {
            state.library.insert(model.to_owned(), offer);
        });
    }

    /// Has unloaded all models.
    pub fn unload(&self) {
        self.shared.change(|state| state.loaded.clear());
    }

    /// Routes of POST that were called, each with the body.
    #[must_use]
    pub fn asked(&self) -> Vec<(String, Value)> {
        self.shared.state().asked.clone()
    }

    /// Pieces of a model that are kept of a pull which broke off.
    #[must_use]
    pub fn kept(&self, model: &str) -> u32 {
        self.shared.state().kept.get(model).copied().unwrap_or(0)
    }

    /// Waits until that many pulls are under way.
    pub async fn until_pulling(&self, pulls: usize) {
        self.until(&format!("{pulls} pulls are under way"), |state| state.pulls == pulls).await;
    }

    /// Waits until that many callers have hung up before their answer was complete.
    pub async fn until_hung_up(&self, callers: usize) {
        self.until(&format!("{callers} callers have hung up"), |state| state.hung_up >= callers).await;
    }

    async fn until(&self, name: &str, is_so: impl Fn(&State) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let end = Instant::now() + PATIENCE;
        while !is_so(&self.shared.state()) {
            assert!(timeout_at(end, changed.changed()).await.is_ok(), "waited in vain until {name}");
        }
    }
}

impl Drop for OllamaShim {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.send_replace(());
    }
}

/// A name as Ollama knows it: the tag `latest` is understood.
fn whole(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        connections.spawn(routes::converse(stream, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}
