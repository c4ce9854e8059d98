//! Reporting: where agents park, a loop sends what the outbox has, again and again until it is answered. With ends goes the
//! next claim, if none is under way. Elsewhere a loop reads what the heartbeats are to carry.

use std::{sync::Arc, time::Duration};

use titan_api::{
    PROTOCOL,
    work::{ReportReply, ReportRequest},
};

use crate::{agent::Agent, backoff::Backoff, claim::Next, link::Setback};

const LIMIT: Duration = Duration::from_secs(30);

/// Reports until the agent stops.
pub(crate) async fn run(agent: Arc<Agent>) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
    let mut settings = agent.settings.subscribe();
    let mut claims = true;
    loop {
        if !settings.borrow_and_update().parking {
            // The heartbeat carries reports until that changes.
            let _ = settings.changed().await;
            continue;
        }
        tokio::select! {
            () = agent.outbox.due() => {}
            _ = settings.changed() => continue,
        }
        let sent = send(&agent, claims).await;
        // Should it be the claim that fails, no report waits for it, and none is given up: what was claimed before comes with a
        // claim by itself, under the same number.
        claims = sent.is_ok();
        match sent {
            Ok(()) => backoff.reset(),
            Err(Setback::Stopping) => return,
            Err(Setback::Later(asked_for)) => tokio::time::sleep(backoff.after_failure(asked_for)).await,
            Err(Setback::Refused) => tokio::time::sleep(backoff.after_failure(None)).await,
        }
    }
}

/// Reads logs for the heartbeats until the agent stops: they carry what is read, and never wait for a disk.
pub(crate) async fn fill(agent: Arc<Agent>) {
    let mut settings = agent.settings.subscribe();
    loop {
        if settings.borrow_and_update().parking {
            // Reports have calls of their own until that changes.
            let _ = settings.changed().await;
            continue;
        }
        tokio::select! {
            () = agent.outbox.unfilled() => {}
            _ = settings.changed() => continue,
        }
        agent.outbox.fill().await;
    }
}

async fn send(agent: &Arc<Agent>, claims: bool) -> Result<(), Setback> {
    let Some(parcel) = agent.outbox.take().await else { return Ok(()) };
    let next = Some(&parcel).filter(|_| claims).and_then(|parcel| Next::with(agent, parcel));
    let claim = next.as_ref().map(Next::claim);
    let request = ReportRequest { protocol: PROTOCOL, reports: parcel.reports().to_vec(), claim };
    match agent.call::<_, ReportReply>("report", &request, LIMIT).await {
        Ok(reply) => {
            // First what has ended, whose slots the leases take; and a cancellation may be about one of them.
            agent.settled(&parcel.settle(&reply.answers));
            if let (Some(next), Some(leases), false) = (&next, reply.leases, *agent.leaving.borrow()) {
                agent.begin(next.open, leases);
            }
            agent.heed(&reply.cancel, reply.flush_ms);
            Ok(())
        }
        Err(Setback::Refused) if next.is_some() => Err(Setback::Refused),
        Err(Setback::Refused) => {
            agent.settled(&parcel.refused());
            Err(Setback::Refused)
        }
        // The parcel goes back as it is when it is dropped.
        Err(setback) => Err(setback),
    }
}
