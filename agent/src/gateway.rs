//! The gateway: clients that can reach this box call it directly, with a ticket from a coordinator. A ticket's first use
//! makes it an attempt like any other; the answer goes to the client and only its outcome to the coordinator.

mod answer;
mod keys;
mod reply;
mod ticket;
mod used;
mod wire;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, time::Instant};
use tracing::{debug, info, warn};

use crate::agent::Agent;
use keys::{KeySet, Keys};
use ticket::{Here, Ticket, Unfit};
use used::Used;
use wire::Wire;

/// Connections at once.
const CONNECTIONS: usize = 512;
/// How long the headers of a request may take.
const HEADERS: Duration = Duration::from_secs(10);
/// Bytes of the headers of a request.
const HEADER_BYTES: usize = 32 * 1_024;
/// However many tickets name keys that nobody knows, coordinators are asked for theirs no more often.
const FETCH_EVERY: Duration = Duration::from_secs(10);
const FETCH: Duration = Duration::from_secs(5);

/// What checks tickets.
#[derive(Debug)]
pub(crate) struct Gateway {
    agent: Arc<Agent>,
    keys: Mutex<Keys>,
    used: Mutex<Used>,
    fetched: tokio::sync::Mutex<Option<Instant>>,
    began: Instant,
}

/// Takes the address that the operator named, if one is.
///
/// # Errors
/// Somebody else has it.
pub(crate) async fn listen(address: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("--gateway-listen {address} cannot be used"))?;
    info!("clients with a ticket are answered at {address}");
    Ok(Some(listener))
}

/// Answers clients until the agent stops.
pub(crate) async fn run(agent: Arc<Agent>, listener: Option<TcpListener>) {
    let Some(listener) = listener else { return std::future::pending().await };
    let gateway = Arc::new(Gateway {
        agent,
        keys: Mutex::default(),
        used: Mutex::default(),
        fetched: tokio::sync::Mutex::default(),
        began: Instant::now(),
    });
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(e) => {
                warn!("a client could not be let in: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Tokens are small and should not wait for more.
        let _ = stream.set_nodelay(true);
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let gateway = Arc::clone(&gateway);
                async move { Ok::<_, Infallible>(answer::answer(gateway, request).await) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEADER_BYTES);
            if let Err(e) = http.serve_connection(TokioIo::new(Wire::new(stream)), service).await {
                debug!("a client's connection broke: {e}");
            }
            drop(place);
        });
    }
}

impl Gateway {
    /// Checks a ticket. Keys are fetched if it names one that is not known.
    async fn check(&self, text: &str) -> Result<Ticket, Unfit> {
        match self.check_offline(text) {
            Err(Unfit::UnknownKey) if self.fetch_keys().await => self.check_offline(text),
            checked => checked,
        }
    }

    fn check_offline(&self, text: &str) -> Result<Ticket, Unfit> {
        let session = self.agent.link.session();
        let Some(agent) = &session.agent_id else { return Err(Unfit::Bad("this agent has not registered")) };
        let here = Here::at(agent.as_str(), self.agent.registration.now_ms(), self.began.elapsed());
        ticket::check(text, &self.keys.lock().unwrap_or_else(PoisonError::into_inner), here)
    }

    /// Fetches the coordinator's keys, unless that was just done.
    async fn fetch_keys(&self) -> bool {
        let mut fetched = self.fetched.lock().await;
        if fetched.is_some_and(|at| at.elapsed() < FETCH_EVERY) {
            // Whoever waited for the lock finds what was fetched meanwhile.
            return true;
        }
        *fetched = Some(Instant::now());
        let client = self.agent.link.client();
        let set = tokio::time::timeout(FETCH, client.get::<KeySet>("/.well-known/jwks.json")).await;
        match set {
            Ok(Ok(set)) => {
                *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = set.into();
                true
            }
            Ok(Err(e)) => {
                warn!("the coordinator's keys cannot be fetched: {e}");
                false
            }
            Err(_) => false,
        }
    }

    /// Takes a ticket; `false` if it was taken before.
    fn take(&self, ticket: &Ticket) -> bool {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).take(ticket, self.now_s())
    }

    /// The coordinator has not heard of its use, so it may be tried again.
    fn give_back(&self, ticket: &Ticket) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).give_back(ticket);
    }

    fn now_s(&self) -> i64 {
        self.agent.registration.now_s()
    }
}
