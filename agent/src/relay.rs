//! Answering a request to a model: asks the backend and gives its answer to the outbox as it comes.
//!
//! The answer is forgotten as soon as its attempt ends otherwise: dropping it drops the connection to the backend,
//! which is how a backend learns that nobody waits any more.

mod answer;
mod body;
mod ending;
mod events;
mod patience;
mod pull;
mod upload;
mod uploads;
mod way;

use std::{sync::Arc, time::Duration};

use titan_api::{
    inference::InferenceSpec,
    jobs::Reason,
    trace::Traceparent,
    work::{Happening, HeldLease},
};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use crate::{
    agent::Agent,
    attempts::Orders,
    clock,
    executor::{Fault, caught, failed, lease_lost, unstarted},
    outbox::Spool,
};
use answer::Answer;
use ending::Broken;
pub(crate) use uploads::Uploads;
pub(crate) use way::Piece;

/// The clock that counts sleep cannot be waited for, so it is looked at this often.
const LOOK_MS: u64 = 1_000;

const FAULT: &str = "a fault of titan-agent ended the answer; the agent's log has the cause";

/// A request that this agent is to answer.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub lease: &'a HeldLease,
    /// How long the answer may take.
    pub timeout_ms: Option<u64>,
    pub request: &'a InferenceSpec,
    /// Of which trace it is a part; the backend is told.
    pub traceparent: Option<Traceparent>,
}

/// Answers one request and gives what is to be reported of its end; `None` if it was disowned.
///
/// When this comes back, the backend was told that nobody waits for more.
pub(crate) async fn run(
    agent: &Arc<Agent>,
    asked: Asked<'_>,
    spool: &Arc<Spool>,
    orders: watch::Receiver<Orders>,
    client: Option<mpsc::Sender<Piece>>,
) -> Option<Happening> {
    let Asked { lease, timeout_ms, request, traceparent } = asked;
    let answer = Answer { agent, lease, request, traceparent, spool, client: client.clone() };
    let stopped = until_stopped(orders, lease, timeout_ms);
    first_end(stopped, until_alone(client), answer.give()).await
}

async fn first_end(
    stopped: impl Future<Output = Option<Happening>>,
    alone: impl Future<Output = ()>,
    given: impl Future<Output = Happening>,
) -> Option<Happening> {
    tokio::select! {
        // An order to stop goes before an answer that ends in the same moment: nobody wants that any more.
        biased;
        end = stopped => end,
        () = alone => Some(Broken::ClientGone.told()),
        // Otherwise its lease would be renewed for ever.
        end = caught(given) => Some(end.unwrap_or_else(|Fault| Broken::Backend(FAULT.to_owned()).told())),
    }
}

/// Waits until a client that called directly has gone.
async fn until_alone(client: Option<mpsc::Sender<Piece>>) {
    match client {
        Some(client) => client.closed().await,
        None => std::future::pending().await,
    }
}

/// Waits until the attempt has to end, and gives how that is told.
async fn until_stopped(
    mut orders: watch::Receiver<Orders>,
    lease: &HeldLease,
    timeout_ms: Option<u64>,
) -> Option<Happening> {
    let ends_ms = timeout_ms.map(|timeout_ms| clock::now_ms().saturating_add(timeout_ms));
    let mut told = true;
    loop {
        let current = *orders.borrow_and_update();
        let now_ms = clock::now_ms();
        if let Some(stop) = current.stop {
            return unstarted(stop);
        }
        if current.deadline_ms.is_some_and(|deadline_ms| now_ms >= deadline_ms) {
            warn!(job.id = %lease.job_id, attempt = lease.attempt, "the lease was not renewed in time; the answer is ended");
            return lease_lost(None);
        }
        if ends_ms.is_some_and(|ends_ms| now_ms >= ends_ms) {
            return Some(failed(Reason::Timeout, "the answer took longer than the request allows"));
        }
        let next_ms = [current.deadline_ms, ends_ms].into_iter().flatten().min().unwrap_or(u64::MAX);
        let pause = Duration::from_millis(next_ms.saturating_sub(now_ms).clamp(1, LOOK_MS));
        tokio::select! {
            changed = orders.changed(), if told => told = changed.is_ok(),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn an_answer_whose_code_panics_fails_and_another_agent_may_give_it() {
        let end = first_end(pending(), pending(), async { panic!("a fault") }).await;
        assert!(
            matches!(&end, Some(Happening::Failed { reason: Reason::BackendFailed, message: Some(why), .. })
                if why.contains("a fault of titan-agent")),
            "{end:?}"
        );
        assert_eq!(first_end(ready(None), pending(), async { panic!("a fault") }).await, None);
    }
}
