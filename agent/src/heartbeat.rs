//! The heartbeat: state up; renewed leases, cancellations, settings and a fresh token down. Where nobody parks it
//! carries reports and a claim too, so that one call does all.

use std::{sync::Arc, time::Duration};

use titan_api::{
    PROTOCOL, limits,
    work::{Claim, HeartbeatReply, HeartbeatRequest, HeldLease},
};
use tokio::time::Instant;

use crate::{
    agent::Agent,
    attempts::OpenClaim,
    backoff::Backoff,
    clock,
    link::Setback,
    outbox::{Parcel, Settled},
};

/// After a failure the next heartbeat comes no later than this: leases are running out.
const MOST_BETWEEN_REPEATS: Duration = Duration::from_secs(5);

/// From the first heartbeat to the second.
const SECOND: Duration = Duration::from_secs(1);

/// Beats until the agent stops.
pub(crate) async fn run(agent: Arc<Agent>) {
    let mut heart = Heart { agent, seq: 0, backoff: Backoff::new(Duration::from_millis(200), MOST_BETWEEN_REPEATS) };
    while let Some(wait) = heart.beat().await {
        let agent = &heart.agent;
        let carries = heart.carries();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = agent.beat_now.notified() => {}
            () = agent.outbox.filled(), if carries => {}
        }
    }
}

struct Heart {
    agent: Arc<Agent>,
    seq: u64,
    backoff: Backoff,
}

/// What a heartbeat carries besides.
struct Cargo<'a> {
    parcel: Option<Parcel<'a>>,
    claim: Option<OpenClaim>,
}

impl Heart {
    /// Whether the next heartbeat may carry reports and a claim. Not after a failure: if it was their size that made
    /// it fail, leases are renewed all the same.
    fn carries(&self) -> bool {
        !self.agent.settings.borrow().parking && self.backoff.failures() == 0
    }

    /// One heartbeat. Gives how long to wait for the next; `None` if there is to be none.
    async fn beat(&mut self) -> Option<Duration> {
        let agent = Arc::clone(&self.agent);
        let cargo = self.cargo(&agent);
        let request = self.request(&cargo).await;
        let (sent_ms, sent) = (clock::now_ms(), Instant::now());
        let answer = agent.call::<_, HeartbeatReply>("heartbeat", &request, self.limit()).await;
        agent.vitals.heartbeat(sent_ms, answer.is_ok());
        match answer {
            Ok(reply) => {
                self.backoff.reset();
                if cargo.parcel.is_none() {
                    agent.link.measured(sent.elapsed());
                }
                Some(self.heard(&request, reply, cargo, sent_ms))
            }
            Err(Setback::Stopping) => None,
            Err(Setback::Later(asked_for)) => Some(self.repeat_after(asked_for)),
            Err(Setback::Refused) => {
                let settled = cargo.parcel.map_or_else(Settled::default, Parcel::refused);
                agent.settled(&settled);
                Some(self.repeat_after(None))
            }
        }
    }

    /// Only what was read already: a heartbeat waits for no disk.
    fn cargo<'a>(&self, agent: &'a Agent) -> Cargo<'a> {
        if !self.carries() {
            return Cargo { parcel: None, claim: None };
        }
        let parcel = agent.outbox.take_filled();
        let claims = agent.wish().is_any() || (agent.is_open() && agent.attempts.has_open_claim());
        Cargo { parcel, claim: claims.then(|| agent.attempts.open_claim(clock::now_ms())) }
    }

    async fn request(&mut self, cargo: &Cargo<'_>) -> HeartbeatRequest {
        // Before anything is read that must be of one moment.
        let measures = self.agent.measure().await;
        self.seq += 1;
        let wish = self.agent.wish();
        let (last_claim, mut leases) = self.agent.attempts.snapshot();
        leases.truncate(limits::LEASES);
        let (models, pulls) = self.agent.news_of_models().map_or((None, 0), |(models, pulls)| (Some(models), pulls));
        HeartbeatRequest {
            protocol: PROTOCOL,
            seq: self.seq,
            last_claim,
            measures,
            leases,
            models,
            pulls,
            leaving: *self.agent.leaving.borrow(),
            reports: cargo.parcel.as_ref().map(|parcel| parcel.reports().to_vec()).unwrap_or_default(),
            claim: cargo.claim.map(|open| Claim {
                claim: open.number,
                free_slots: wish.slots,
                free_requests: wish.requests,
            }),
        }
    }

    fn heard(&self, request: &HeartbeatRequest, reply: HeartbeatReply, cargo: Cargo<'_>, sent_ms: u64) -> Duration {
        let agent = &self.agent;
        if let Some(models) = &request.models {
            agent.models_told(models.clone(), request.pulls);
        }
        agent.farewell.send_if_modified(|said| request.leaving && !std::mem::replace(said, true));
        let renewed = request.leases.iter().filter(|lease| !reply.stop.contains(lease));
        agent.attempts.renew(renewed, sent_ms.saturating_add(reply.settings.lease_ttl_ms));
        if let Some(token) = reply.token {
            agent.registration.heed_time_of(&token.token);
            agent.link.refresh_token(token.token);
        }
        agent.draining.send_if_modified(|draining| std::mem::replace(draining, reply.draining) != reply.draining);
        agent.apply(reply.settings);
        agent.heed(&reply.cancel, reply.flush_ms);
        let claimed = cargo.claim.is_some();
        // Before `stop`, which names those too whose ends this very heartbeat has brought.
        agent.settled(&cargo.parcel.map(|parcel| parcel.settle(&reply.answers)).unwrap_or_default());
        agent.revoke_all(&known(&reply.stop, &request.leases));
        if let Some(claim) = cargo.claim {
            agent.begin(claim, reply.leases);
        }
        if self.carries() && !claimed && agent.wish().is_any() {
            // There was no slot to claim for, and now there is.
            return Duration::ZERO;
        }
        self.until_next(reply.next_heartbeat_ms)
    }

    /// The coordinator's interval, or the operator's if that is shorter.
    fn until_next(&self, next_ms: u64) -> Duration {
        let next = Duration::from_millis(next_ms);
        let next = self.agent.config.heartbeat_interval.map_or(next, |wish| wish.min(next));
        // The first heartbeat knows neither load nor round-trip time, and agents are chosen by them.
        if self.seq == 1 { next.min(SECOND) } else { next }
    }

    fn repeat_after(&mut self, asked_for: Option<Duration>) -> Duration {
        let interval = Duration::from_millis(self.agent.settings.borrow().heartbeat_interval_ms);
        let wait = self.backoff.after_failure(asked_for);
        // Whatever was asked for, no lease is let run out by waiting.
        wait.min(interval.max(Duration::from_millis(100)))
    }

    /// How long an answer may take: several heartbeats must fit in a lease.
    fn limit(&self) -> Duration {
        let ttl = Duration::from_millis(self.agent.settings.borrow().lease_ttl_ms);
        (ttl / 4).clamp(Duration::from_secs(1), Duration::from_secs(10))
    }
}

/// Only what was asked about can be answered: a late word about another lease is not believed.
fn known(stop: &[HeldLease], asked: &[HeldLease]) -> Vec<HeldLease> {
    stop.iter().filter(|lease| asked.contains(lease)).cloned().collect()
}
