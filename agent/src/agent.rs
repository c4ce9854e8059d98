//! What the loops share.

mod hindrances;
mod life;
mod wish;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use titan_api::{
    agents::{AgentSettings, Facts, Measures, Model},
    ids::JobId,
};
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

pub(crate) use wish::Wish;

use crate::{
    attempts::Attempts,
    backends::Backends,
    config::Config,
    executor::Executor,
    hardware::{Gpus, Meter},
    identity::Identity,
    link::{CallError, Fatal, Link, Setback},
    outbox::Outbox,
    register::Registration,
    relay::Uploads,
    supervise::Supervise,
    trace::Tracer,
    vitals::Vitals,
};

/// One run of the agent.
#[derive(Debug)]
pub(crate) struct Agent {
    pub config: Config,
    pub identity: Identity,
    pub facts: Facts,
    pub backends: Backends,
    /// The models that the coordinator was told last, and how many would be pulled at once.
    told_models: Mutex<(Vec<Model>, u32)>,
    /// Backends that this agent itself has started.
    pub supervise: Supervise,
    pub link: Link,
    pub registration: Registration,
    pub attempts: Attempts,
    pub outbox: Outbox,
    pub executor: Executor,
    pub vitals: Vitals,
    pub tracer: Tracer,
    gpus: Gpus,
    meter: Mutex<Meter>,
    /// How the coordinator wants the agent to behave, as it said last.
    pub settings: watch::Sender<AgentSettings>,
    /// Whether an operator of the pool drains this agent.
    pub draining: watch::Sender<bool>,
    /// Why the disk has no room for jobs, in words; none while it has.
    pub why_disk_is_short: watch::Sender<Option<String>>,
    /// Whether the agent is on its way out.
    pub leaving: watch::Sender<bool>,
    /// Why the agent cannot go on.
    pub fatal: watch::Sender<Option<Fatal>>,
    /// Whether the coordinator has heard that.
    pub farewell: watch::Sender<bool>,
    /// Held by whoever makes a claim in a call of its own or with reports, as where agents park: there is one under way at a time.
    /// A heartbeat, which carries claims where none park, does not wait for it. Where that has just changed, both may be under way:
    /// they have the same number, and the answer that comes first is the only one that is read.
    pub claiming: tokio::sync::Mutex<()>,
    /// Asks for a heartbeat before its time.
    pub beat_now: Notify,
    /// Whether answers can be uploaded, as far as is known.
    pub uploads: Uploads,
}

impl Agent {
    #[expect(clippy::too_many_arguments, reason = "each is a part that is made on its own")]
    pub(crate) fn new(
        config: Config,
        identity: Identity,
        facts: Facts,
        link: Link,
        executor: Executor,
        gpus: Gpus,
        backends: Backends,
        supervise: Supervise,
    ) -> Self {
        Self {
            attempts: Attempts::new(config.max_jobs),
            registration: Registration::new(),
            outbox: Outbox::new(),
            vitals: Vitals::default(),
            tracer: Tracer::of(config.tracing.as_ref()),
            gpus,
            meter: Mutex::new(Meter::new()),
            settings: watch::Sender::new(until_told()),
            draining: watch::Sender::new(false),
            why_disk_is_short: watch::Sender::new(None),
            leaving: watch::Sender::new(false),
            farewell: watch::Sender::new(false),
            fatal: watch::Sender::new(None),
            claiming: tokio::sync::Mutex::default(),
            beat_now: Notify::new(),
            uploads: Uploads::default(),
            config,
            identity,
            facts,
            backends,
            supervise,
            told_models: Mutex::default(),
            link,
            executor,
        }
    }

    /// Calls `POST /api/v1/agents/{id}/{verb}` once. An agent that the coordinator does not know registers again.
    ///
    /// # Errors
    /// What to do about it.
    pub(crate) async fn call<B, R>(&self, verb: &str, body: &B, limit: Duration) -> Result<R, Setback>
    where
        B: Serialize + Sync + ?Sized,
        R: DeserializeOwned,
    {
        let session = self.link.session();
        let Some(agent_id) = &session.agent_id else { return Err(Setback::Later(None)) };
        let path = format!("/api/v1/agents/{agent_id}/{verb}");
        match self.link.post(&path, Some(&session.token), body, limit).await {
            Ok(reply) => Ok(reply),
            Err(error) => Err(self.setback(verb, error, session.generation).await),
        }
    }

    async fn setback(&self, verb: &str, error: CallError, generation: u64) -> Setback {
        if let Some(fatal) = error.fatal() {
            self.fatal.send_replace(Some(fatal));
            return Setback::Stopping;
        }
        if error.wants_registration() {
            info!("the coordinator does not know this agent any more ({error}); it registers again");
            return match self.register_again(generation).await {
                Ok(()) => Setback::Later(None),
                Err(fatal) => {
                    self.fatal.send_replace(Some(fatal));
                    Setback::Stopping
                }
            };
        }
        warn!("{verb}: {error}");
        if error.is_transient() { Setback::Later(error.retry_after()) } else { Setback::Refused }
    }

    /// What the box has left, and what hinders the agent.
    pub(crate) async fn measure(&self) -> Measures {
        let gpus = self.gpus.measure().await;
        let hindered_by = self.hindrances(&gpus.silent);
        let measures = Measures { hindered_by, ..self.meter().measure(gpus, self.link.rtt_ms()) };
        self.vitals.measured(&measures);
        measures
    }

    /// The same, if it was not just measured.
    pub(crate) async fn measure_if_due(&self) -> Option<Measures> {
        let is_due = self.meter().is_due();
        if is_due { Some(self.measure().await) } else { None }
    }

    /// What the box is, with what its backends serve now.
    pub(crate) fn facts(&self) -> Facts {
        Facts { models: self.backends.models(), ..self.facts.clone() }
    }

    /// The models, and how many would be pulled at once, if the coordinator was told otherwise last.
    pub(crate) fn news_of_models(&self) -> Option<(Vec<Model>, u32)> {
        let now = (self.backends.models(), self.backends.pulls());
        (*lock(&self.told_models) != now).then_some(now)
    }

    /// The coordinator was told this.
    pub(crate) fn models_told(&self, models: Vec<Model>, pulls: u32) {
        *lock(&self.told_models) = (models, pulls);
    }

    /// How the coordinator wants the agent to behave.
    pub(crate) fn apply(&self, settings: AgentSettings) {
        self.settings.send_if_modified(|current| {
            let changed = *current != settings;
            *current = settings;
            changed
        });
    }

    /// What comes back with most replies.
    pub(crate) fn heed(&self, cancel: &[JobId], flush_ms: u64) {
        if !cancel.is_empty() {
            self.attempts.cancel(cancel);
        }
        self.outbox.gather_for(Duration::from_millis(flush_ms));
    }

    fn meter(&self) -> MutexGuard<'_, Meter> {
        lock(&self.meter)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Settings in force until the coordinator has said its own.
fn until_told() -> AgentSettings {
    AgentSettings {
        heartbeat_interval_ms: 10_000,
        lease_ttl_ms: 60_000,
        kill_grace_ms: 10_000,
        parking: false,
        max_wait_ms: 0,
    }
}
