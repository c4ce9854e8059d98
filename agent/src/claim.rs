//! Claiming: where agents park, this loop always has one numbered claim waiting at the coordinator while a slot is
//! free. A claim that got no answer is made again under its number, which gives the same leases.
//!
//! While none is under way, as when all slots are taken, the next goes with the reports of what has ended, so that a slot is
//! filled by the call that frees it. A claim that brought jobs is therefore followed by the next after a moment in which the
//! first of them may end, and in which more may come that are then fetched together.

use std::{sync::Arc, time::Duration};

use titan_api::{
    PROTOCOL, limits,
    work::{Claim, ClaimReply, ClaimRequest},
};
use tokio::{
    sync::MutexGuard,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    agent::{Agent, Wish},
    attempts::OpenClaim,
    backoff::Backoff,
    clock,
    link::Setback,
    outbox::Parcel,
};

/// For the way there and back, beside the wait at the coordinator.
const SPARE: Duration = Duration::from_secs(10);
/// An empty answer that came quicker than this did not wait for work.
const QUICK: Duration = Duration::from_millis(100);
/// From a claim that brought jobs to the next. An agent that could answer for a model claims at once: somebody waits for that.
const PAUSE: Duration = Duration::from_millis(2);
/// No claim waits for more output than this to be sent.
const MOST_BESIDE: usize = 16 * 1_024;

/// Claims until the agent stops.
pub(crate) async fn run(agent: Arc<Agent>) {
    let mut failures = Backoff::new(Duration::from_millis(200), Duration::from_secs(15));
    let mut empties = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    loop {
        until_wanted(&agent).await;
        if let Some(rested) = rests_until(&agent) {
            sleep_until(rested).await;
            continue;
        }
        let begun = Instant::now();
        match claim(&agent).await {
            Ok(Some(reply)) => {
                failures.reset();
                sleep(Duration::from_millis(reply.poll_after_ms)).await;
                if reply.found || begun.elapsed() >= QUICK {
                    empties.reset();
                } else {
                    sleep(empties.after_failure(None)).await;
                }
            }
            Ok(None) => {}
            Err(Setback::Stopping) => return,
            Err(Setback::Later(asked_for)) => sleep(failures.after_failure(asked_for)).await,
            Err(Setback::Refused) => sleep(failures.after_failure(None)).await,
        }
    }
}

struct Answer {
    found: bool,
    poll_after_ms: u64,
}

/// A claim that goes with reports; while there is one, no other is made.
pub(crate) struct Next<'a> {
    pub(crate) open: OpenClaim,
    wish: Wish,
    _turn: MutexGuard<'a, ()>,
}

impl<'a> Next<'a> {
    /// The claim to go with these reports: for what their ends free too, if another claim is not under way.
    pub(crate) fn with(agent: &'a Agent, parcel: &Parcel<'_>) -> Option<Self> {
        let ended = parcel.ended();
        if ended.is_empty() || parcel.output_bytes() > MOST_BESIDE {
            return None;
        }
        let turn = agent.claiming.try_lock().ok()?;
        let wish = Some(agent.wish_without(&ended)).filter(|wish| wish.is_any())?;
        Some(Self { open: open(agent)?, wish, _turn: turn })
    }

    pub(crate) fn claim(&self) -> Claim {
        numbered(self.open, self.wish)
    }
}

/// The claim to make. An agent that leaves gives up the one that is open, and opens no other.
fn open(agent: &Agent) -> Option<OpenClaim> {
    let open = agent.attempts.open_claim(clock::now_ms());
    if *agent.leaving.borrow() {
        agent.attempts.abandon_claim();
        return None;
    }
    Some(open)
}

fn numbered(open: OpenClaim, wish: Wish) -> Claim {
    Claim { claim: open.number, free_slots: wish.slots, free_requests: wish.requests }
}

/// Until when the next claim waits for what the one before has brought.
fn rests_until(agent: &Agent) -> Option<Instant> {
    let rested = agent.attempts.last_brought()? + PAUSE;
    (rested > Instant::now() && agent.wish().requests == 0).then_some(rested)
}

/// One claim; `None` if it has to be made again, or the agent began to leave.
async fn claim(agent: &Arc<Agent>) -> Result<Option<Answer>, Setback> {
    let _turn = agent.claiming.lock().await;
    if !agent.wish().is_any() || rests_until(agent).is_some() {
        // Reports were faster.
        return Ok(None);
    }
    let wait_ms = wait_ms(agent);
    let measures = agent.measure_if_due().await;
    let Some(open) = open(agent) else { return Ok(None) };
    let wish = agent.wish();
    let request = ClaimRequest { protocol: PROTOCOL, claim: numbered(open, wish), measures, wait_ms };
    let mut leaving = agent.leaving.subscribe();
    let reply: ClaimReply = tokio::select! {
        reply = agent.call("claim", &request, Duration::from_millis(wait_ms) + SPARE) => reply?,
        _ = leaving.wait_for(|leaving| *leaving) => return Ok(None),
        // What waits at the coordinator would not be given it; the same number asks again.
        () = until_more(agent, wish) => return Ok(None),
    };
    agent.settings.send_if_modified(|s| std::mem::replace(&mut s.parking, reply.parking) != reply.parking);
    let answer = Answer { found: !reply.leases.is_empty(), poll_after_ms: reply.poll_after_ms };
    // The leases first: a cancellation in the same reply may be about one of them.
    agent.begin(open.handed_out_after(reply.waited_ms, clock::now_ms()), reply.leases);
    agent.heed(&reply.cancel, reply.flush_ms);
    Ok(Some(answer))
}

/// Where a coordinator does not say how long a claim has waited, a lease counts from when that was sent, so it may not wait for most of
/// a lease.
fn wait_ms(agent: &Agent) -> u64 {
    let settings = agent.settings.borrow();
    settings.max_wait_ms.min(limits::CLAIM_WAIT_MS).min(settings.lease_ttl_ms / 2)
}

/// Waits until the agent could begin a kind of work that it did not ask for.
async fn until_more(agent: &Agent, asked: Wish) {
    let (mut count, mut disk) = (agent.attempts.count(), agent.why_disk_is_short.subscribe());
    while !agent.wish().has_more_kinds_than(asked) {
        // The senders live as long as the agent, so neither fails.
        tokio::select! {
            _ = count.changed() => {}
            _ = disk.changed() => {}
        }
    }
}

/// Waits until agents park, this one wants work, and a slot is free.
async fn until_wanted(agent: &Agent) {
    let (mut settings, mut draining) = (agent.settings.subscribe(), agent.draining.subscribe());
    let (mut leaving, mut count) = (agent.leaving.subscribe(), agent.attempts.count());
    let mut disk = agent.why_disk_is_short.subscribe();
    while !(settings.borrow().parking && agent.wish().is_any()) {
        // The senders live as long as the agent, so none of these fails.
        tokio::select! {
            _ = settings.changed() => {}
            _ = draining.changed() => {}
            _ = leaving.changed() => {}
            _ = count.changed() => {}
            _ = disk.changed() => {}
        }
    }
}
