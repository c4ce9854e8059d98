//! What every handler can reach. It holds connections, keys and caches, and nothing that another copy would miss.

use std::{ops::Deref, sync::Arc, time::Duration};

use http::HeaderValue;
use titan_api::{agents::AgentSettings, limits};
use titan_lua::{PoolSettings, Store, StoreError};
use titan_telemetry::{Exporter, Service};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{admin::AdminToken, keys::KeyRing, principal::Known},
    clock::Clock,
    config::Settings,
    fleet::Fleets,
    load::Load,
    metrics::Metrics,
    pace::Pace,
    quotas::Quotas,
    readiness::Checked,
    relay::live::Hub,
    server::Budget,
    sse::events::Heads,
    timer::Alarm,
    waiters::Waiters,
};

/// How long a shutdown waits for the collector of spans.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Bytes of bodies, answers and prompts at once. Each kind has its own, so that long answers never keep heartbeats out.
const BODY_BYTES: usize = 256 * 1_024 * 1_024;
const ANSWER_BYTES: usize = 256 * 1_024 * 1_024;
const PROMPT_BYTES: usize = 128 * 1_024 * 1_024;
/// One credential may have one in so many of them, and so may all together who have none.
const SHARE: usize = 2;

/// The state of one copy of the coordinator. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct AppState(Arc<Inner>);

/// What is in it, for the handlers.
#[derive(Debug)]
pub struct Inner {
    pub(crate) store: Store,
    pub(crate) keys: KeyRing,
    pub(crate) admin: AdminToken,
    pub(crate) known: Known,
    pub(crate) clock: Clock,
    pub(crate) pace: Pace,
    pub(crate) waiters: Waiters,
    pub(crate) checked: Checked,
    /// Bodies that are read, made sense of and submitted.
    pub(crate) bodies: Budget,
    /// Answers of models that are gathered and sent.
    pub(crate) answers: Budget,
    /// What models were asked whose answers may have to go on elsewhere.
    pub(crate) prompts: Budget,
    pub(crate) quotas: Quotas,
    pub(crate) load: Load,
    pub(crate) metrics: Metrics,
    pub(crate) alarm: Alarm,
    /// What readers of events read together.
    pub(crate) heads: Heads,
    /// Answers of models on their way through this copy.
    pub(crate) live: Hub,
    pub(crate) fleets: Fleets,
    /// How long a ticket is good, seconds.
    pub(crate) ticket_ttl_s: i64,
    pub(crate) exporter: Option<Exporter>,
    /// When this copy began, seconds since the epoch.
    pub(crate) started_s: i64,
    pub(crate) cors_allowed_origins: Vec<HeaderValue>,
    pool_settings: PoolSettings,
}

impl Deref for AppState {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl AppState {
    /// Prepares the state, on a runtime if spans are to be sent. Redis need not be there yet.
    ///
    /// # Errors
    /// [`StoreError`] if the URL of Redis is malformed.
    pub fn new(settings: Settings) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Inner {
            store: Store::with(settings.redis_url.reveal(), settings.pool, settings.store)?,
            pace: Pace::new(&settings),
            keys: settings.keys,
            admin: settings.admin,
            known: Known::default(),
            clock: Clock::default(),
            waiters: Waiters::default(),
            checked: Checked::default(),
            bodies: Budget::new(BODY_BYTES, BODY_BYTES / SHARE, "bodies are being read"),
            answers: Budget::new(ANSWER_BYTES, ANSWER_BYTES / SHARE, "answers are being gathered"),
            prompts: Budget::new(PROMPT_BYTES, PROMPT_BYTES / SHARE, "requests may have to go on with another agent"),
            quotas: Quotas::new(settings.key_limits),
            load: Load::new(settings.concurrency_limit),
            metrics: Metrics::default(),
            alarm: Alarm::default(),
            heads: Heads::default(),
            live: Hub::default(),
            fleets: Fleets::default(),
            ticket_ttl_s: settings.ticket_ttl_s,
            exporter: exporter(settings.tracing.as_ref()),
            started_s: Clock::default().now_s(),
            cors_allowed_origins: settings.cors_allowed_origins,
            pool_settings: settings.pool,
        })))
    }

    /// Reads the clock of Redis, which tokens are made and checked on. The program does so at start and regularly.
    ///
    /// # Errors
    /// [`StoreError`] if Redis does not answer; the time known so far stays in use.
    pub async fn refresh_clock(&self) -> Result<(), StoreError> {
        self.clock.refresh(&self.store).await
    }

    /// Cancelled when the coordinator shuts down: whoever waits then answers with what there is.
    #[must_use]
    pub fn closing(&self) -> CancellationToken {
        self.waiters.closing()
    }

    /// Sends the spans that wait, for two seconds at most.
    pub(crate) async fn flush_spans(&self) {
        if let Some(exporter) = &self.exporter {
            exporter.flush(LAST_SPANS).await;
        }
    }

    /// How many requests this copy works on now, waiting ones not counted.
    #[must_use]
    pub fn requests_working(&self) -> usize {
        self.load.busy()
    }

    /// How agents should behave.
    pub(crate) fn agent_settings(&self) -> AgentSettings {
        AgentSettings {
            heartbeat_interval_ms: self.pace.heartbeat_interval_ms(),
            lease_ttl_ms: self.pool_settings.lease_ttl_ms,
            kill_grace_ms: self.pool_settings.kill_grace_ms,
            parking: self.pace.parking(),
            max_wait_ms: if self.pace.parking() { limits::CLAIM_WAIT_MS } else { 0 },
        }
    }
}

/// What tells a collector of requests, if there is one.
fn exporter(settings: Option<&titan_telemetry::Settings>) -> Option<Exporter> {
    let service = Service { name: "titan-coordinator", version: env!("CARGO_PKG_VERSION") };
    Exporter::start(settings?, &service)
        .inspect_err(|error| tracing::error!(component = "telemetry", %error, "no spans are sent"))
        .ok()
}
