//! What the loops share, and what happens to an attempt whichever loop hears of it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use titan_api::{
    agents::{AgentSettings, Facts, Measures, Model},
    ids::{JobId, LeaseId},
    inference::InferenceSpec,
    work::{Happening, HeldLease, Lease},
};
use tokio::sync::{Notify, watch};
use tracing::{debug, info, warn};

use crate::{
    attempts::{Attempts, OpenClaim, Orders, Revoked},
    backends::Backends,
    clock,
    config::Config,
    executor::{Executor, Left, Sign},
    hardware::{Gpus, Meter},
    identity::Identity,
    link::{CallError, Fatal, Link, Setback},
    outbox::{Outbox, Settled, Spool},
    register::Registration,
    relay,
    supervise::Supervise,
    trace::{Trace, Tracer},
    vitals::{self, Vitals},
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
    /// Whether the disk has room for jobs.
    pub has_room: watch::Sender<bool>,
    /// Whether the agent is on its way out.
    pub leaving: watch::Sender<bool>,
    /// Why the agent cannot go on.
    pub fatal: watch::Sender<Option<Fatal>>,
    /// Whether the coordinator has heard that.
    pub farewell: watch::Sender<bool>,
    /// Asks for a heartbeat before its time.
    pub beat_now: Notify,
    /// Until when no uploads are tried, on the box's clock.
    no_uploads_ms: AtomicU64,
}

/// How much work an agent could begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wish {
    /// Process jobs.
    pub slots: u32,
    /// Requests to models.
    pub requests: u32,
}

impl Wish {
    pub(crate) fn is_any(self) -> bool {
        self != Self::default()
    }

    /// Whether there is a kind of work that `asked` did not ask for at all.
    pub(crate) fn has_more_kinds_than(self, asked: Self) -> bool {
        (asked.slots == 0 && self.slots > 0) || (asked.requests == 0 && self.requests > 0)
    }
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
            has_room: watch::Sender::new(true),
            leaving: watch::Sender::new(false),
            farewell: watch::Sender::new(false),
            fatal: watch::Sender::new(None),
            beat_now: Notify::new(),
            no_uploads_ms: AtomicU64::new(0),
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

    /// What the box has left.
    pub(crate) async fn measure(&self) -> Measures {
        let gpus = self.gpus.measure().await;
        let measures = self.meter().measure(gpus, self.link.rtt_ms());
        self.vitals.measured(&measures);
        measures
    }

    /// The same, if it was not just measured.
    pub(crate) async fn measure_if_due(&self) -> Option<Measures> {
        let is_due = self.meter().is_due();
        if is_due { Some(self.measure().await) } else { None }
    }

    /// Whether the agent takes work at all.
    pub(crate) fn is_open(&self) -> bool {
        !*self.draining.borrow() && !*self.leaving.borrow()
    }

    /// How much work the agent should ask for.
    pub(crate) fn wish(&self) -> Wish {
        if !self.is_open() {
            return Wish::default();
        }
        let jobs = self.config.allow_jobs && *self.has_room.borrow();
        Wish { slots: if jobs { self.attempts.free_slots() } else { 0 }, requests: self.attempts.free_requests() }
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

    /// Whether answers can be uploaded, as far as is known.
    pub(crate) fn uploads_are_served(&self) -> bool {
        clock::now_ms() >= self.no_uploads_ms.load(Ordering::Relaxed)
    }

    /// A coordinator takes no uploads; another that is asked later may.
    pub(crate) fn no_uploads_for(&self, pause: Duration) {
        self.no_uploads_ms.store(clock::now_ms().saturating_add(clock::millis(pause)), Ordering::Relaxed);
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

    /// Begins the attempts that `claim` has brought.
    pub(crate) fn begin(self: &Arc<Self>, claim: OpenClaim, leases: Vec<Lease>) {
        for (mut lease, orders) in self.attempts.accept(claim, leases, clock::now_ms()) {
            let trace = self.tracer.of_attempt(&mut lease);
            // Before anything can happen to it.
            if let Some(request) = lease.inference.clone() {
                let spool = self.outbox.open_in_memory(lease.held());
                tokio::spawn(Arc::clone(self).answer(lease, request, spool, orders, trace));
            } else {
                self.outbox.open(lease.held(), &self.executor.folder(&lease).log());
                tokio::spawn(Arc::clone(self).run_attempt(lease, orders, trace));
            }
        }
    }

    /// Answers a request to a model.
    async fn answer(
        self: Arc<Self>,
        lease: Lease,
        request: InferenceSpec,
        spool: Arc<Spool>,
        orders: watch::Receiver<Orders>,
        trace: Option<Trace>,
    ) {
        let held = lease.held();
        debug!(job.id = %lease.job_id, attempt = lease.attempt, model = request.model, "request begins");
        let asked = relay::Asked {
            lease: &held,
            timeout_ms: lease.timeout_ms,
            request: &request,
            traceparent: lease.traceparent,
        };
        let end = relay::run(&self, asked, &spool, orders, None).await;
        if let Some(trace) = trace {
            trace.end(&held, self.link.session().agent_id.as_ref(), end.as_ref());
        }
        self.conclude(&held, false, end);
    }

    async fn run_attempt(self: Arc<Self>, lease: Lease, orders: watch::Receiver<Orders>, trace: Option<Trace>) {
        let held = lease.held();
        self.attempts.alone(&held).await;
        info!(job.id = %lease.job_id, attempt = lease.attempt, "attempt begins");
        let kill_grace = Duration::from_millis(self.settings.borrow().kill_grace_ms);
        let note = trace.as_ref().map(Trace::note);
        let end = self.executor.run(&lease, note, orders, kill_grace, |sign| self.seen(&lease.lease_id, sign)).await;
        if let Some(trace) = trace {
            trace.end(&held, self.link.session().agent_id.as_ref(), end.as_ref());
        }
        self.conclude(&held, !lease.devices.is_empty(), end);
    }

    /// Holds what an earlier run of the agent has left, so that registering tells of it.
    pub(crate) fn take_over(&self, left: Vec<Left>) -> Vec<(Left, watch::Receiver<Orders>)> {
        let hold = |left: Left| {
            self.outbox.reopen(left.lease().clone(), &left.log());
            let orders = self.attempts.adopt(left.lease().clone(), left.owed.disconnect_grace_ms);
            (left, orders)
        };
        left.into_iter().map(hold).collect()
    }

    /// Goes on with what was taken over.
    pub(crate) fn resume(self: &Arc<Self>, taken: Vec<(Left, watch::Receiver<Orders>)>) {
        for (left, orders) in taken {
            let agent = Arc::clone(self);
            tokio::spawn(async move {
                let (lease, has_devices) = (left.lease().clone(), left.has_devices());
                let trace = agent.tracer.taken_over(left.owed.trace.clone());
                let end = agent.executor.resume(left, orders, |sign| agent.seen(&lease.lease_id, sign)).await;
                if let Some(trace) = trace {
                    trace.end(&lease, agent.link.session().agent_id.as_ref(), end.as_ref());
                }
                agent.conclude(&lease, has_devices, end);
            });
        }
    }

    /// Nothing of the attempt runs any more.
    pub(crate) fn conclude(&self, lease: &HeldLease, has_devices: bool, end: Option<Happening>) {
        let id = &lease.lease_id;
        self.vitals.ended(end.as_ref());
        if has_devices {
            // Until the memory that it used is measured as free, nobody else gets it.
            self.beat_now.notify_one();
        }
        if let Some(how) = end {
            // What a program or a backend says of it may be secret, so it is not told.
            info!(job.id = %lease.job_id, attempt = lease.attempt, "attempt ended: {}", vitals::word(Some(&how)));
            self.attempts.ended(id);
            self.outbox.end(id, how);
        } else {
            info!(job.id = %lease.job_id, attempt = lease.attempt, "attempt ended: its processes are gone");
            self.outbox.discard(id);
            self.attempts.remove(id);
            self.executor.settle(lease);
            if !self.settings.borrow().parking {
                // Its slot is free, and only a heartbeat can claim for it.
                self.beat_now.notify_one();
            }
        }
    }

    fn seen(&self, lease: &LeaseId, sign: Sign) {
        match sign {
            Sign::Started => self.outbox.started(lease),
            Sign::Output => self.outbox.output(lease),
        }
    }

    /// What became of reports.
    pub(crate) fn settled(&self, settled: &Settled) {
        for lease in &settled.finished {
            self.attempts.remove(&lease.lease_id);
            self.executor.settle(lease);
        }
        self.revoke_all(&settled.stale);
    }

    /// Attempts that are no longer this agent's: their processes end and nothing of them is reported.
    pub(crate) fn revoke_all(&self, leases: &[HeldLease]) {
        for lease in leases {
            // Heartbeats list it until its processes are gone, so this may be said many times.
            let revoked = self.attempts.revoke(&lease.lease_id);
            if revoked != Revoked::Known {
                info!(job.id = %lease.job_id, attempt = lease.attempt, "the attempt is no longer this agent's");
                self.outbox.discard(&lease.lease_id);
            }
            if revoked == Revoked::Gone {
                self.executor.settle(lease);
            }
        }
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
