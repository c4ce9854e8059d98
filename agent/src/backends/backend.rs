//! One backend: what it serves, as it said last, and how busy this agent keeps it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tracing::{info, warn};

use super::{
    Kind, NoAnswer,
    dialect::{self, Dialect, Found},
    http::Http,
    is_name,
};
use crate::config::BackendArg;

/// So often in a row may a backend be too slow to say what it serves, or break off: a busy one is not gone, and neither is
/// one that closes a connection that it was asked over once.
const SPARED: u32 = 3;

/// A backend.
#[derive(Debug)]
pub(crate) struct Backend {
    /// For people.
    pub name: String,
    pub kind: Kind,
    pub http: Http,
    pub dialect: &'static dyn Dialect,
    url: String,
    parallel: Option<u32>,
    vram_mb: BTreeMap<String, u64>,
    /// Public names by the backend's own.
    public: BTreeMap<String, Vec<String>>,
    state: Mutex<State>,
    /// Requests that it is answering for this agent.
    busy: AtomicU32,
}

#[derive(Debug, Default)]
struct State {
    served: Vec<Served>,
    /// Whether it answers.
    is_up: bool,
    /// How often in a row it did not say what it serves.
    spared: u32,
    /// Why it serves nothing; none while it answers.
    silence: Option<String>,
    /// What was last said of it in the log.
    told: Option<String>,
}

/// A model under one public name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    pub public: String,
    /// The backend's own name.
    pub own: String,
    pub parallel: u32,
    pub loaded: bool,
    pub size_mb: Option<u64>,
    /// What it takes when it is loaded; 0 if it is, or if nobody knows.
    pub vram_mb: u64,
}

impl Backend {
    /// The backend that `arg` names.
    ///
    /// # Errors
    /// Its key cannot be read.
    pub(crate) fn new(arg: &BackendArg) -> anyhow::Result<Self> {
        let mut public = BTreeMap::<_, Vec<_>>::new();
        for (alias, own) in &arg.aliases {
            public.entry(own.clone()).or_default().push(alias.clone());
        }
        Ok(Self {
            name: arg.name.clone().unwrap_or_else(|| format!("{} at {}", arg.kind, arg.url)),
            kind: arg.kind,
            http: Http::new(arg)?,
            dialect: dialect::of(arg.kind),
            url: arg.url.clone(),
            parallel: arg.parallel,
            vram_mb: arg.vram_mb.clone(),
            public,
            state: Mutex::default(),
            busy: AtomicU32::new(0),
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What it serves, as it said last.
    pub(crate) fn served(&self) -> Vec<Served> {
        self.state().served.clone()
    }

    /// What of it keeps the agent from asking for requests.
    pub(super) fn hindrance(&self) -> Option<String> {
        self.state().silence.as_ref().map(|why| format!("{} serves nothing now: {why}", self.name))
    }

    /// Whether it could pull a model now.
    pub(super) fn can_pull(&self) -> bool {
        self.dialect.pulls() && self.state().is_up
    }

    /// Asks it what it serves.
    pub(crate) async fn refresh(&self) {
        let answer = self.dialect.models(&self.http).await;
        let mut state = self.state();
        match answer {
            Ok(found) => {
                (state.spared, state.is_up, state.silence) = (0, true, None);
                state.served = self.serve(found);
                let names: Vec<_> = state.served.iter().map(|served| served.public.as_str()).collect();
                let words = if names.is_empty() { "no model".to_owned() } else { names.join(", ") };
                if state.tells(&words) {
                    info!("the backend {} serves {words}", self.name);
                }
            }
            Err(NoAnswer::Slow | NoAnswer::Broke(_)) if state.spared < SPARED => state.spared += 1,
            Err(why) => {
                state.served.clear();
                state.is_up = false;
                let words = why.to_string();
                if state.tells(&words) {
                    warn!("the backend {} serves nothing now: {words}", self.name);
                }
                state.silence = Some(words);
            }
        }
    }

    fn serve(&self, found: Vec<Found>) -> Vec<Served> {
        let mut served = Vec::new();
        for model in found {
            let names = self.public.get(&model.name).cloned().unwrap_or_else(|| vec![model.name.clone()]);
            let parallel = self.parallel.or(model.parallel).unwrap_or_else(|| self.dialect.usual_parallel());
            let vram_mb = if model.loaded { 0 } else { self.vram_mb.get(&model.name).copied().unwrap_or(0) };
            for public in names.into_iter().filter(|name| is_name(name)) {
                served.push(Served {
                    public,
                    own: model.name.clone(),
                    parallel: parallel.clamp(1, super::PARALLEL),
                    loaded: model.loaded,
                    size_mb: model.size_mb,
                    vram_mb,
                });
            }
        }
        served
    }

    /// How many requests it is answering.
    pub(crate) fn busy(&self) -> u32 {
        self.busy.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether `words` are news.
    fn tells(&mut self, words: &str) -> bool {
        let news = self.told.as_deref() != Some(words);
        if news {
            self.told = Some(words.to_owned());
        }
        news
    }
}

/// A model at a backend, while a request to it is answered.
#[derive(Debug)]
pub(crate) struct Target {
    pub backend: Arc<Backend>,
    pub model: Served,
}

impl Target {
    pub(super) fn new(backend: Arc<Backend>, model: Served) -> Self {
        backend.busy.fetch_add(1, Ordering::Relaxed);
        Self { backend, model }
    }

    /// Whether the model is in memory now, as far as the backend says.
    pub(crate) async fn is_loaded(&self) -> bool {
        self.backend.dialect.is_loaded(&self.backend.http, &self.model.own).await.unwrap_or(false)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.backend.busy.fetch_sub(1, Ordering::Relaxed);
    }
}
