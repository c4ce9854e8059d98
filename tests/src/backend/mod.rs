//! A backend that serves models by a script: it speaks OpenAI's interface, or also Ollama's, llama.cpp's or vLLM's own
//! routes, and can be told how to fail. It is no model: its answers count words, `w0 w1 w2 …`.
//!
//! It knows nothing of the rest of the harness, so the agent's own tests use this very file.

mod answers;
pub(crate) mod changing;
mod manner;
pub(crate) mod server;
pub(crate) mod wire;

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Deref,
    sync::Arc,
    time::Duration,
};

use serde_json::Value;

use self::{changing::Changing, server::Server};
pub use manner::Manner;

/// Whose routes it has, beside OpenAI's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Nobody's: `/v1/models` and the routes for requests.
    OpenAi,
    /// `/api/version`, `/api/tags`, `/api/ps`, `/api/pull`.
    Ollama,
    /// `/props`, `/slots`, `/health`.
    LlamaCpp,
    /// `/version`, `/health`.
    Vllm,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its path.
    pub path: String,
    /// Its headers, by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body to the letter.
    pub body: String,
}

impl Asked {
    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// A running backend; it stops, and hangs up on everybody, when it is dropped.
#[derive(Debug)]
pub struct Backend {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    shape: Shape,
    now: Changing<State>,
}

#[derive(Debug)]
struct State {
    models: Vec<String>,
    /// Those in memory; another one is loaded by the first request for it.
    loaded: Vec<String>,
    /// How long loading takes.
    load: Duration,
    /// Requests served at once, as llama.cpp tells it.
    parallel: u32,
    next: VecDeque<Manner>,
    usual: Manner,
    asked: Vec<Asked>,
    /// Answers that are being given.
    open: usize,
    /// Callers who hung up before their answer was complete.
    hung_up: usize,
    /// Whether a connection ends with the second request over it, without an answer.
    once: bool,
    /// Connections that ended so.
    broken: usize,
    /// Whether it still loads, and so serves nothing yet.
    starting: bool,
}

impl Backend {
    /// One that serves the model `small` by OpenAI's routes and answers with five words.
    pub async fn start() -> Self {
        Self::like(Shape::OpenAi).await
    }

    /// The same with somebody's own routes, too.
    pub async fn like(shape: Shape) -> Self {
        let state = State {
            models: vec!["small".to_owned()],
            loaded: vec!["small".to_owned()],
            load: Duration::ZERO,
            parallel: 4,
            next: VecDeque::new(),
            usual: Manner::words(5),
            asked: Vec::new(),
            open: 0,
            hung_up: 0,
            once: false,
            broken: 0,
            starting: false,
        };
        let shared = Arc::new(Shared { shape, now: Changing::new(state) });
        let server = Server::start({
            let shared = Arc::clone(&shared);
            move |stream| answers::converse(stream, Arc::clone(&shared))
        });
        Self { server: server.await, shared }
    }

    /// Its URL, without a path.
    #[must_use]
    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// From now on it serves these models, all of them loaded.
    pub fn serve(&self, models: &[&str]) {
        let models: Vec<_> = models.iter().map(|&model| model.to_owned()).collect();
        self.change(|state| (state.loaded, state.models) = (models.clone(), models));
    }

    /// From now on no model is loaded, and loading one takes that long.
    pub fn unload(&self, load: Duration) {
        self.change(|state| (state.loaded, state.load) = (Vec::new(), load));
    }

    /// Whether it says, from now on, that it is still loading its model, as llama.cpp does.
    pub fn starts(&self, starting: bool) {
        self.change(|state| state.starting = starting);
    }

    /// Tells that it serves so many requests at once.
    pub fn parallel(&self, parallel: u32) {
        self.change(|state| state.parallel = parallel);
    }

    /// From now on a connection is good for one request, which nobody is told.
    pub fn answer_once(&self) {
        self.change(|state| state.once = true);
    }

    /// Waits until that many connections have broken in the face of a second request.
    pub async fn until_broken(&self, connections: usize) {
        let so_many = |state: &State| (state.broken >= connections).then_some(());
        self.shared.until(&format!("{connections} connections have broken"), so_many).await;
    }

    /// Answers the next request that has no manner yet like this.
    pub fn next(&self, manner: Manner) {
        self.change(|state| state.next.push_back(manner));
    }

    /// Answers all requests like this from now on, but those that [`Backend::next`] is about.
    pub fn always(&self, manner: Manner) {
        self.change(|state| state.usual = manner);
    }

    /// The requests to models so far (nobody's own routes, no lists).
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.state().asked.clone()
    }

    /// Answers that are being given now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.state().open
    }

    /// Callers who hung up before their answer was complete.
    #[must_use]
    pub fn hung_up(&self) -> usize {
        self.shared.state().hung_up
    }

    /// Waits until that many requests have come, and gives the latest of them.
    pub async fn until_asked(&self, requests: usize) -> Asked {
        let nth = |state: &State| requests.checked_sub(1).and_then(|nth| state.asked.get(nth).cloned());
        self.shared.until(&format!("{requests} requests have come"), nth).await
    }

    /// Waits until that many callers have hung up.
    pub async fn until_hung_up(&self, callers: usize) {
        let so_many = |state: &State| (state.hung_up >= callers).then_some(());
        self.shared.until(&format!("{callers} callers have hung up"), so_many).await;
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.shared.change(change);
    }
}

impl Deref for Shared {
    type Target = Changing<State>;

    fn deref(&self) -> &Changing<State> {
        &self.now
    }
}
