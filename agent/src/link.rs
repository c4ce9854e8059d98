//! The way to the coordinator: several URLs tried in order, one bearer, a bound on every call, and the smoothed
//! round-trip time.

mod setback;

use std::{
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use reqwest::{Certificate, redirect};
use serde::{Serialize, de::DeserializeOwned};
use titan_api::{
    client::{Client, ClientError},
    ids::AgentId,
};

pub(crate) use setback::{CallError, Fatal, Setback};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A NAT box forgets a silent connection; better that the operating system notices than that a claim waits in vain.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Calls whichever coordinator answers.
#[derive(Debug)]
pub(crate) struct Link {
    clients: Vec<Client>,
    current: AtomicUsize,
    session: Mutex<Session>,
    rtt_ms: Mutex<Option<f64>>,
}

/// As whom the agent calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct Session {
    /// `None` until the agent has registered.
    pub agent_id: Option<AgentId>,
    pub token: String,
    /// Rises with every registration, so that of many callers with a bad token only the first registers again.
    pub generation: u64,
}

impl Link {
    /// A link to the coordinators at `urls`, which trusts the certificates in `ca_file` too.
    ///
    /// # Errors
    /// The certificates cannot be read.
    pub(crate) fn new(urls: &[String], ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("titan-agent/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(KEEPALIVE)
            // Nobody may send the agent's credentials elsewhere.
            .redirect(redirect::Policy::none());
        if let Some(path) = ca_file {
            http = http.tls_certs_merge(certificates(path)?);
        }
        let http = http.build().context("the HTTP client could not be made")?;
        Ok(Self {
            clients: urls.iter().map(|url| Client::new(http.clone(), url)).collect(),
            current: AtomicUsize::new(0),
            session: Mutex::default(),
            rtt_ms: Mutex::default(),
        })
    }

    /// The coordinators, in the order to try them.
    pub(crate) fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// As whom the agent calls now.
    pub(crate) fn session(&self) -> Session {
        lock(&self.session).clone()
    }

    /// A client of the coordinator that answered last, as whom the agent calls now.
    pub(crate) fn client(&self) -> Client {
        let at = self.current.load(Ordering::Relaxed) % self.clients.len();
        self.clients[at].clone().with_bearer(self.session().token)
    }

    /// The agent has registered.
    pub(crate) fn begin_session(&self, agent_id: AgentId, token: String) {
        let mut session = lock(&self.session);
        *session = Session { agent_id: Some(agent_id), token, generation: session.generation + 1 };
    }

    /// A fresh token for the same session.
    pub(crate) fn refresh_token(&self, token: String) {
        lock(&self.session).token = token;
    }

    /// `POST path`, once, at whichever coordinator answered last; the next call goes to the next one if this one does not
    /// answer or says that it cannot.
    ///
    /// # Errors
    /// Nobody answered within `limit`, or the coordinator refused the call.
    pub(crate) async fn post<B, R>(
        &self,
        path: &str,
        bearer: Option<&str>,
        body: &B,
        limit: Duration,
    ) -> Result<R, CallError>
    where
        B: Serialize + Sync + ?Sized,
        R: DeserializeOwned,
    {
        let at = self.current.load(Ordering::Relaxed) % self.clients.len();
        let mut client = self.clients[at].clone();
        if let Some(bearer) = bearer {
            client = client.with_bearer(bearer);
        }
        let result = match tokio::time::timeout(limit, client.post(path, body)).await {
            Ok(result) => result.map_err(CallError::from),
            Err(_) => Err(CallError::NoAnswer { cause: format!("{} did not answer within {limit:?}", client.base()) }),
        };
        if result.as_ref().is_err_and(CallError::is_of_this_coordinator) {
            // Only if nobody else has moved on meanwhile.
            let _ = self.current.compare_exchange(at, at + 1, Ordering::Relaxed, Ordering::Relaxed);
        }
        result
    }

    /// Takes a measured round trip into the smoothed one.
    pub(crate) fn measured(&self, trip: Duration) {
        let trip_ms = trip.as_secs_f64() * 1_000.0;
        let mut smoothed = lock(&self.rtt_ms);
        *smoothed = Some(smoothed.map_or(trip_ms, |old| old + (trip_ms - old) / 8.0));
    }

    /// The smoothed round-trip time, milliseconds; `None` before the first measurement.
    pub(crate) fn rtt_ms(&self) -> Option<f64> {
        *lock(&self.rtt_ms)
    }
}

impl From<ClientError> for CallError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused { problem, retry_after } => Self::Refused { problem, retry_after },
            ClientError::Unreachable { ref cause, .. } if cause.contains("certificate") => {
                let hint = "if the coordinator has a certificate of your own making, name its authority with --ca-file";
                Self::NoAnswer { cause: format!("{error}; {hint}") }
            }
            ClientError::Unexpected { .. } | ClientError::NotHttp { .. } | ClientError::Unreachable { .. } => {
                Self::NoAnswer { cause: error.to_string() }
            }
        }
    }
}

fn certificates(path: &Path) -> anyhow::Result<Vec<Certificate>> {
    let name = path.display();
    let pem = std::fs::read(path).with_context(|| format!("--ca-file {name} cannot be read"))?;
    let found = Certificate::from_pem_bundle(&pem).with_context(|| format!("--ca-file {name} is not in PEM"))?;
    anyhow::ensure!(!found.is_empty(), "--ca-file {name} holds no certificate");
    Ok(found)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
