//! Leaving: on the first signal running jobs get time to end and the rest is handed back, or they are left to the agent's
//! next start; on the second signal everything ends at once, and is handed back if the coordinator answers at once too.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};
use tracing::{info, warn};

use crate::{agent::Agent, attempts::Stop, config::OnStop};

/// How long the last reports may take.
const FLUSH: Duration = Duration::from_secs(10);
/// How long a coordinator may take to hear that the agent leaves.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long it may take to hear what has ended, where nobody wants to wait.
const LAST_WORD: Duration = Duration::from_secs(2);
/// How long processes that were killed may take to be gone.
const KILL: Duration = Duration::from_secs(2);

/// The signals that ask the agent to stop.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on they do not end the agent by themselves.
    ///
    /// # Errors
    /// The system does not allow it.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            // The terminal was closed; jobs deserve the same care.
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Takes no more work, and does with what runs as the operator wants it.
pub(crate) async fn leave(agent: &Arc<Agent>) {
    agent.leaving.send_replace(true);
    // What it may have brought goes back, since nobody begins it.
    agent.attempts.abandon_claim();
    agent.beat_now.notify_one();
    match agent.config.on_stop {
        OnStop::Drain => drain(agent).await,
        OnStop::Keep => {
            let jobs = agent.attempts.running();
            info!(jobs, "stopping: what runs goes on, and this agent's next start takes it over");
            finish_requests(agent).await;
        }
    }
    let mut farewell = agent.farewell.subscribe();
    if timeout(FAREWELL, farewell.wait_for(|said| *said)).await.is_err() {
        warn!("the coordinator could not be told that this agent leaves; it will notice by its silence");
    }
}

/// Lets what runs go on for the grace, hands back the rest, and sends the last reports.
async fn drain(agent: &Arc<Agent>) {
    let grace = agent.config.drain_grace;
    info!(jobs = agent.attempts.running(), "stopping: no more work is taken, and what runs gets {grace:?}");
    if timeout(grace, until_none_runs(agent)).await.is_err() {
        info!(jobs = agent.attempts.running(), "what still runs is ended and handed back");
        agent.attempts.stop_all(Stop::Release);
        let kill_grace = Duration::from_millis(agent.settings.borrow().kill_grace_ms) + KILL;
        let _ = timeout(kill_grace, until_none_runs(agent)).await;
    }
    if timeout(FLUSH, until_none_is_held(agent)).await.is_err() {
        warn!("the last reports could not be delivered; this agent's next start delivers them");
    }
}

/// Answers end with the agent, whatever becomes of jobs: they get the grace, and the rest is handed back.
async fn finish_requests(agent: &Arc<Agent>) {
    let mut count = agent.attempts.count();
    let none_runs = async {
        while agent.attempts.running_requests() > 0 {
            // The sender lives as long as the agent, so this does not fail.
            let _ = count.changed().await;
        }
    };
    if timeout(agent.config.drain_grace, none_runs).await.is_err() {
        agent.attempts.stop_requests(Stop::Release);
    }
    // Their last reports; jobs that go on are held all the while.
    let _ = timeout(FLUSH, agent.outbox.until_requests_are_told()).await;
}

/// Ends everything without grace. What was running would seem to go on until its leases end, so it is handed back.
pub(crate) async fn kill(agent: &Arc<Agent>) {
    agent.attempts.kill_all();
    let _ = timeout(KILL, until_none_runs(agent)).await;
    if timeout(LAST_WORD, until_none_is_held(agent)).await.is_err() {
        warn!("the coordinator could not be told what has ended; this agent's next start tells it");
    }
}

/// Ends everything with the usual grace and reports nothing: the attempts are not this agent's any more.
pub(crate) async fn abandon(agent: &Arc<Agent>) {
    agent.leaving.send_replace(true);
    agent.attempts.stop_all(Stop::Revoke);
    let kill_grace = Duration::from_millis(agent.settings.borrow().kill_grace_ms) + KILL;
    let _ = timeout(kill_grace, until_none_runs(agent)).await;
}

async fn until_none_runs(agent: &Agent) {
    let mut count = agent.attempts.count();
    while agent.attempts.running() > 0 {
        // The sender lives as long as the agent, so this does not fail.
        let _ = count.changed().await;
    }
}

async fn until_none_is_held(agent: &Agent) {
    let mut count = agent.attempts.count();
    // Likewise.
    let _ = count.wait_for(|held| *held == 0).await;
}
