//! A shim with Ollama's routes. A real Ollama can't be had where these tests run, so this is none: it stands before a
//! server that speaks OpenAI's interface (a real llama.cpp server, or a scripted backend), gives that server's one model
//! the names of all that are on its disk, and has a library to pull more from. `tests/large/ollama.rs` tries it with
//! Ollama's own client for Python.
//!
//! Like the scripted backend, it knows nothing of the rest of the harness, so the agent's own tests use this very file.

mod library;
mod requests;
mod routes;

use std::{collections::BTreeMap, ops::Deref, sync::Arc};

use serde_json::Value;

use crate::backend::{changing::Changing, server::Server};
pub use library::{Fate, Offer};

/// A running shim; it stops, and hangs up on everybody, when it is dropped.
#[derive(Debug)]
pub struct OllamaShim {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Who answers: a URL, and what its model is called there.
    upstream: String,
    upstream_model: String,
    client: reqwest::Client,
    now: Changing<State>,
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
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            upstream_model: model.to_owned(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            now: Changing::new(State::default()),
        });
        let server = Server::start({
            let shared = Arc::clone(&shared);
            move |stream| routes::converse(stream, Arc::clone(&shared))
        });
        Self { server: server.await, shared }
    }

    /// Its URL, without a path.
    #[must_use]
    pub fn url(&self) -> &str {
        self.server.url()
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
        let so_many = |state: &State| (state.pulls == pulls).then_some(());
        self.shared.until(&format!("{pulls} pulls are under way"), so_many).await;
    }

    /// Waits until that many callers have hung up before their answer was complete.
    pub async fn until_hung_up(&self, callers: usize) {
        let so_many = |state: &State| (state.hung_up >= callers).then_some(());
        self.shared.until(&format!("{callers} callers have hung up"), so_many).await;
    }
}

impl Deref for Shared {
    type Target = Changing<State>;

    fn deref(&self) -> &Changing<State> {
        &self.now
    }
}

/// A name as Ollama knows it: the tag `latest` is understood.
fn whole(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}
