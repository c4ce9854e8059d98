//! The gateway: clients that can reach this box call it directly, with a ticket from a coordinator. A ticket's first use
//! makes it an attempt like any other; the answer goes to the client and only its outcome to the coordinator.

mod answer;
mod bounds;
mod door;
mod keys;
mod reply;
mod ticket;
mod used;
mod wire;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use tokio::{net::TcpListener, time::Instant};
use tracing::{info, warn};

use crate::agent::Agent;
use bounds::Bounds;
use keys::{KeySet, Keys};
use ticket::{Here, Ticket, Unfit};
use used::{Taken, Used};

/// However many tickets name keys that nobody knows, coordinators are asked for theirs no more often.
const FETCH_EVERY: Duration = Duration::from_secs(10);
const FETCH: Duration = Duration::from_secs(5);

/// What checks tickets.
#[derive(Debug)]
struct Gateway {
    agent: Arc<Agent>,
    bounds: Bounds,
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
    door::serve(Arc::new(Gateway::new(agent, Bounds::default())), listener).await;
}

impl Gateway {
    fn new(agent: Arc<Agent>, bounds: Bounds) -> Self {
        Self {
            agent,
            bounds,
            keys: Mutex::default(),
            used: Mutex::default(),
            fetched: tokio::sync::Mutex::default(),
            began: Instant::now(),
        }
    }

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

    /// Takes a ticket that somebody brings; `None` if it was used, or somebody else brings it just now.
    fn take(&self, ticket: Ticket) -> Option<Taken<'_>> {
        Used::take(&self.used, ticket, self.now_s())
    }

    fn now_s(&self) -> i64 {
        self.agent.registration.now_s()
    }
}

#[cfg(test)]
mod tests;
