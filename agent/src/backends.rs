//! What serves models on this box: backends that the operator named, and those found at their usual ports. Each is asked
//! again and again what it serves; the pool sees one list of models, whoever serves them.

mod backend;
mod dialect;
mod http;
mod kind;
mod llamacpp;
mod ollama;
mod openai;
mod probe;
mod pulling;
mod steps;
mod vllm;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU32},
    time::Duration,
};

use titan_api::{agents::Model, limits, pull::is_puller};
use tokio::{sync::Notify, task::JoinSet, time::timeout};
use tracing::warn;

pub(crate) use backend::{Backend, Target};
pub(crate) use dialect::of as dialect;
pub(crate) use http::{Http, NoAnswer, cause};
pub use kind::Kind;
pub(crate) use steps::{Step, Steps, Unread};

use crate::{
    agent::Agent,
    config::{BackendArg, Config},
    policy::Policy,
};

/// Requests at once for one model.
const PARALLEL: u32 = limits::REQUESTS;
/// How often backends are asked, at least and at most.
const EVERY: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(5);
/// How often backends are looked for at their usual ports.
const PROBE_EVERY: Duration = Duration::from_secs(30);
/// How long the first look may keep the agent from registering.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// All backends of the box.
#[derive(Debug)]
pub(crate) struct Backends {
    list: Mutex<Vec<Arc<Backend>>>,
    probe: bool,
    /// Where backends of the agent's own are or will be: none of these is found by chance.
    claimed: Mutex<BTreeSet<String>>,
    models: Mutex<Vec<Model>>,
    /// Who lets models be pulled: a policy, or anybody where there is none.
    policy: Option<Arc<Policy>>,
    /// How many would be pulled at once.
    pulls: AtomicU32,
    /// One of them may serve other models than it did.
    doubt: Notify,
}

impl Backends {
    /// Those that the operator named.
    ///
    /// # Errors
    /// A key cannot be read.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let named = config.backends.iter().map(|arg| Backend::new(arg).map(Arc::new));
        let list = Mutex::new(named.collect::<Result<_, _>>()?);
        let (policy, pulls) = (config.policy.clone(), AtomicU32::new(0));
        Ok(Self {
            list,
            probe: config.probe_backends,
            claimed: <_>::default(),
            models: <_>::default(),
            policy,
            pulls,
            doubt: Notify::new(),
        })
    }

    /// All models, as the pool is to see them.
    pub(crate) fn models(&self) -> Vec<Model> {
        lock(&self.models).clone()
    }

    /// What of them keeps the agent from asking for requests, in words.
    pub(crate) fn hindrances(&self) -> Vec<String> {
        self.list().iter().filter_map(|backend| backend.hindrance()).collect()
    }

    /// Who is to answer a request to `model`: where it is loaded, then where there is most room.
    pub(crate) fn target(&self, model: &str) -> Option<Target> {
        let mut best: Option<(bool, f64, Target)> = None;
        for backend in self.list().iter() {
            let Some(served) = backend.served().into_iter().find(|served| served.public == model) else { continue };
            let (loaded, load) = (served.loaded, f64::from(backend.busy()) / f64::from(served.parallel));
            if best.as_ref().is_none_or(|(l, b, _)| (loaded && !l) || (loaded == *l && load < *b)) {
                best = Some((loaded, load, Target::new(Arc::clone(backend), served)));
            }
        }
        best.map(|(_, _, target)| target)
    }

    /// Somebody has seen a backend fail: they are asked at once.
    pub(crate) fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// A backend of the agent's own will be at `url`.
    pub(crate) fn claim(&self, url: &str) {
        lock(&self.claimed).insert(url.to_owned());
    }

    /// Serves what is there from now on, as if the operator had named it.
    ///
    /// # Errors
    /// Its key cannot be read.
    pub(crate) fn attach(&self, arg: &BackendArg) -> anyhow::Result<()> {
        let backend = Arc::new(Backend::new(arg)?);
        let mut list = self.list();
        list.retain(|other| other.url() != arg.url);
        list.push(backend);
        self.doubt();
        Ok(())
    }

    /// Serves nothing of what is at `url` any more.
    pub(crate) fn detach(&self, url: &str) {
        self.list().retain(|backend| backend.url() != url);
        self.doubt();
    }

    /// Asks all of them what they serve; `true` if that, or whether one pulls, is something else than before.
    async fn look(&self) -> bool {
        let mut asking = JoinSet::new();
        for backend in self.list().iter() {
            let backend = Arc::clone(backend);
            asking.spawn(async move { backend.refresh().await });
        }
        asking.join_all().await;
        let merged = merge(&self.list());
        let mut models = lock(&self.models);
        let changed = *models != merged;
        *models = merged;
        self.look_for_puller() || changed
    }

    /// Looks for backends at the usual ports.
    async fn probe(&self) {
        if !self.probe {
            return;
        }
        let mut known: Vec<_> = self.list().iter().map(|backend| backend.url().to_owned()).collect();
        known.extend(lock(&self.claimed).iter().cloned());
        let found = probe::find(&known).await;
        self.list().extend(found.into_iter().map(Arc::new));
    }

    fn list(&self) -> MutexGuard<'_, Vec<Arc<Backend>>> {
        lock(&self.list)
    }
}

/// One entry for each public name: several backends that serve it serve more at once.
fn merge(backends: &[Arc<Backend>]) -> Vec<Model> {
    let mut models = BTreeMap::<String, Model>::new();
    for backend in backends {
        for served in backend.served() {
            let model = Model {
                name: served.public.clone(),
                vram_mb: served.vram_mb,
                parallel: served.parallel,
                loaded: served.loaded,
                backend: backend.kind.as_str().to_owned(),
                size_mb: served.size_mb,
            };
            models
                .entry(served.public)
                .and_modify(|other| {
                    other.parallel = (other.parallel + model.parallel).min(PARALLEL);
                    other.vram_mb = if other.loaded || model.loaded { 0 } else { other.vram_mb.min(model.vram_mb) };
                    other.loaded |= model.loaded;
                })
                .or_insert(model);
        }
    }
    if models.len() > limits::MODELS {
        warn!("the backends serve {} models; the first {} by name are told", models.len(), limits::MODELS);
    }
    models.into_values().take(limits::MODELS).collect()
}

/// Whether a model can have that name.
pub(crate) fn is_name(name: &str) -> bool {
    let is_text = name.trim() == name && !name.chars().any(char::is_control);
    (1..=limits::MODEL_BYTES).contains(&name.len()) && is_text && !is_puller(name)
}

/// Asks the backend that `arg` names how many models it has, for whoever only looks.
///
/// # Errors
/// It does not answer as one of its kind, in words.
pub(crate) async fn ask(arg: &BackendArg) -> Result<usize, String> {
    let http = Http::new(arg).map_err(|e| format!("{e:#}"))?;
    let models = dialect::of(arg.kind).models(&http).await.map_err(|e| e.to_string())?;
    Ok(models.len())
}

/// Looks for the first time, so that registering tells what is served.
pub(crate) async fn first_look(agent: &Agent) {
    let look = async {
        agent.backends.probe().await;
        look(agent).await;
    };
    // One that is slow is told with a heartbeat.
    let _ = timeout(FIRST_LOOK, look).await;
}

/// Looks again and again until the agent stops; what has changed is told at once.
pub(crate) async fn run(agent: Arc<Agent>) {
    let backends = &agent.backends;
    let mut probed = tokio::time::Instant::now();
    loop {
        let half = Duration::from_millis(agent.settings.borrow().heartbeat_interval_ms) / 2;
        tokio::select! {
            () = tokio::time::sleep(half.clamp(*EVERY.start(), *EVERY.end())) => {}
            () = backends.doubt.notified() => {}
        }
        if probed.elapsed() >= PROBE_EVERY {
            probed = tokio::time::Instant::now();
            backends.probe().await;
        }
        look(&agent).await;
    }
}

async fn look(agent: &Agent) {
    if agent.backends.look().await {
        let parallel: u32 = agent.backends.models().iter().map(|model| model.parallel).sum();
        agent.attempts.take_requests(parallel + agent.backends.pulls());
        agent.beat_now.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
