//! The attempts that this agent holds: what each heartbeat lists, what fills its slots, and the orders for each.
//!
//! The coordinator takes back every lease of a claim that was answered and that a heartbeat does not list. So the
//! number of the last claim and the leases it brought change together, under one lock, and are read together.

mod orders;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use titan_api::{
    ids::{JobId, LeaseId},
    limits,
    work::{HeldLease, Lease},
};
use tokio::{sync::watch, time::Instant};

pub(crate) use orders::{Orders, Stop};

/// All attempts that the agent holds.
#[derive(Debug)]
pub(crate) struct Attempts {
    /// Process jobs at once.
    slots: u32,
    inner: Mutex<Inner>,
    /// How many are held; tells waiters whenever one comes or goes.
    count: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Inner {
    held: BTreeMap<LeaseId, Held>,
    last_claim: u64,
    /// The number of the claim whose answer is not known.
    open_claim: Option<u64>,
    accepted: u64,
    /// When a claim last brought anything.
    last_brought: Option<Instant>,
    /// Requests to models at once.
    requests: u32,
    /// Requests that clients have brought here, while the coordinator is asked about them.
    brought: usize,
}

/// A place for a request that a client has brought here, until it is held or given back.
#[derive(Debug)]
pub(crate) struct Brought<'a>(&'a Attempts);

impl Drop for Brought<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.brought -= 1;
        self.0.counted(inner);
    }
}

/// One sending of a claim whose answer is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenClaim {
    pub number: u64,
    /// From when its leases count, on the box's clock: from when it is sent, since the answer to a repeat grants or renews them.
    pub from_ms: u64,
}

impl OpenClaim {
    /// The same, of which a coordinator says how long it had waited when its leases were handed out; not later than now.
    pub(crate) fn handed_out_after(self, waited_ms: u64, now_ms: u64) -> Self {
        Self { from_ms: self.from_ms.saturating_add(waited_ms).min(now_ms.max(self.from_ms)), ..self }
    }
}

#[derive(Debug)]
struct Held {
    lease: HeldLease,
    orders: watch::Sender<Orders>,
    /// How much longer than its lease it may run, milliseconds.
    grace_ms: u64,
    /// Rises from lease to lease.
    order: u64,
    /// Whether the coordinator has disowned it. Heartbeats list it all the same until its processes are gone: what is not
    /// listed counts as freed.
    disowned: bool,
    /// Whether processes of it may exist.
    running: bool,
    /// Whether it is a request to a model, which has no processes but those of its backend.
    is_request: bool,
}

/// An attempt that is to begin, and the orders for it.
pub(crate) type Begun = (Lease, watch::Receiver<Orders>);

/// What became of an order to drop an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Revoked {
    /// Its processes are being ended.
    Ending,
    /// Nothing of it ran any more; it is forgotten.
    Gone,
    /// It is not held, or that was known.
    Known,
}

impl Attempts {
    /// Room for `slots` process jobs, and for no requests yet.
    pub(crate) fn new(slots: u32) -> Self {
        Self { slots, inner: Mutex::default(), count: watch::Sender::new(0) }
    }

    /// How many more process jobs could begin once these attempts are forgotten.
    pub(crate) fn free_slots(&self, without: &[LeaseId]) -> u32 {
        self.slots.saturating_sub(self.lock().count_without(without, false))
    }

    /// The same of requests to models.
    pub(crate) fn free_requests(&self, without: &[LeaseId]) -> u32 {
        let inner = self.lock();
        inner.requests.saturating_sub(inner.count_without(without, true))
    }

    /// From now on there is room for so many requests, as far as heartbeats can list them beside the jobs.
    pub(crate) fn take_requests(&self, requests: u32) {
        let most = u32::try_from(limits::LEASES).unwrap_or(u32::MAX).saturating_sub(self.slots);
        let mut inner = self.lock();
        inner.requests = requests.min(most);
        self.counted(inner);
    }

    /// Tells whenever an attempt comes or goes.
    pub(crate) fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// The claim to make, at `now_ms`: the one that got no answer yet, or else the next.
    pub(crate) fn open_claim(&self, now_ms: u64) -> OpenClaim {
        let mut inner = self.lock();
        let next = inner.last_claim + 1;
        OpenClaim { number: *inner.open_claim.get_or_insert(next), from_ms: now_ms }
    }

    /// Whether a claim was made whose answer is not known.
    pub(crate) fn has_open_claim(&self) -> bool {
        self.lock().open_claim.is_some()
    }

    /// The answer to `claim`: from now on its leases are held and it counts as read. Gives those that are new.
    pub(crate) fn accept(&self, claim: OpenClaim, leases: Vec<Lease>, now_ms: u64) -> Vec<Begun> {
        let mut inner = self.lock();
        if claim.number <= inner.last_claim {
            return Vec::new();
        }
        (inner.last_claim, inner.open_claim) = (claim.number, None);
        // More than was asked for would overload the box, and what has run out already is not worth beginning. What is
        // not held goes back with the next heartbeat.
        let mut slots = self.slots.saturating_sub(inner.count(false));
        let mut requests = inner.requests.saturating_sub(inner.count(true));
        let mut new = Vec::new();
        for lease in leases.into_iter().filter(|lease| claim.from_ms.saturating_add(lease.lease_ttl_ms) > now_ms) {
            let room = if lease.inference.is_some() { &mut requests } else { &mut slots };
            let Some(left) = room.checked_sub(1) else { continue };
            if let Some(begun) = inner.begin(lease, claim.from_ms) {
                *room = left;
                new.push(begun);
            }
        }
        if !new.is_empty() {
            inner.last_brought = Some(Instant::now());
        }
        self.counted(inner);
        new
    }

    /// When a claim last brought anything.
    pub(crate) fn last_brought(&self) -> Option<Instant> {
        self.lock().last_brought
    }

    /// Holds an attempt of an earlier run of the agent, which may have processes.
    pub(crate) fn adopt(&self, lease: HeldLease, grace_ms: u64) -> watch::Receiver<Orders> {
        let mut inner = self.lock();
        let orders = inner.hold(lease, grace_ms, None, false);
        self.counted(inner);
        orders
    }

    /// Room for a request that a client has brought here itself; none if a heartbeat could not list it beside the others.
    pub(crate) fn expect_request(&self) -> Option<Brought<'_>> {
        let mut inner = self.lock();
        let most = u32::try_from(limits::LEASES).unwrap_or(u32::MAX).saturating_sub(self.slots);
        if inner.count(true) >= most {
            return None;
        }
        inner.brought += 1;
        self.counted(inner);
        Some(Brought(self))
    }

    /// Holds a request that a client has brought here itself.
    pub(crate) fn adopt_request(&self, lease: HeldLease, deadline_ms: u64) -> watch::Receiver<Orders> {
        let mut inner = self.lock();
        let orders = inner.hold(lease, 0, Some(deadline_ms), true);
        self.counted(inner);
        orders
    }

    /// The open claim's answer will not be read any more: whatever it brought goes back with the next heartbeat.
    pub(crate) fn abandon_claim(&self) {
        let mut inner = self.lock();
        if let Some(number) = inner.open_claim.take() {
            inner.last_claim = number;
        }
    }

    /// The last claim whose answer was read, and everything that is held.
    pub(crate) fn snapshot(&self) -> (u64, Vec<HeldLease>) {
        let inner = self.lock();
        (inner.last_claim, inner.held.values().map(|h| h.lease.clone()).collect())
    }

    /// The coordinator renewed `leases`: they last until `deadline_ms` on the box's clock, and those that were granted a
    /// grace run on for that long after it.
    pub(crate) fn renew<'a>(&self, leases: impl IntoIterator<Item = &'a HeldLease>, deadline_ms: u64) {
        let inner = self.lock();
        for held in leases.into_iter().filter_map(|lease| inner.held.get(&lease.lease_id)).filter(|h| !h.disowned) {
            let deadline_ms = deadline_ms.saturating_add(held.grace_ms);
            held.orders.send_if_modified(|orders| orders.extend(deadline_ms));
        }
    }

    /// Ends all attempts of these jobs, to be reported as cancelled.
    pub(crate) fn cancel(&self, jobs: &[JobId]) {
        let inner = self.lock();
        for held in inner.held.values().filter(|h| jobs.contains(&h.lease.job_id)) {
            held.order(Stop::Cancel);
        }
    }

    /// The coordinator has disowned the lease: its processes end and nothing of it is reported any more.
    pub(crate) fn revoke(&self, lease: &LeaseId) -> Revoked {
        let mut inner = self.lock();
        let Some(held) = inner.held.get_mut(lease).filter(|held| !held.disowned) else { return Revoked::Known };
        held.disowned = true;
        held.order(Stop::Revoke);
        if held.running {
            return Revoked::Ending;
        }
        inner.held.remove(lease);
        self.counted(inner);
        Revoked::Gone
    }

    /// Gives the same order to all requests to models.
    pub(crate) fn stop_requests(&self, stop: Stop) {
        self.lock().held.values().filter(|held| held.is_request).for_each(|held| held.order(stop));
    }

    /// How many jobs are not this agent's any more, as the coordinator has said, and may still have processes.
    pub(crate) fn disowned_jobs(&self) -> usize {
        self.lock().held.values().filter(|held| held.disowned && held.running && !held.is_request).count()
    }

    /// How many requests to models are being answered.
    pub(crate) fn running_requests(&self) -> usize {
        self.lock().held.values().filter(|held| held.is_request && held.running).count()
    }

    /// Gives the same order to all attempts.
    pub(crate) fn stop_all(&self, stop: Stop) {
        self.lock().held.values().for_each(|held| held.order(stop));
    }

    /// Ends all attempts without any grace, to be handed back.
    pub(crate) fn kill_all(&self) {
        for held in self.lock().held.values() {
            held.order(Stop::Release);
            held.orders.send_modify(|orders| orders.at_once = true);
        }
    }

    /// The processes of the attempt are gone; its slot stays taken until its last report is answered.
    pub(crate) fn ended(&self, lease: &LeaseId) {
        let mut inner = self.lock();
        if let Some(held) = inner.held.get_mut(lease) {
            held.running = false;
        }
        self.counted(inner);
    }

    /// Forgets the attempt: its slot is free.
    pub(crate) fn remove(&self, lease: &LeaseId) {
        let mut inner = self.lock();
        inner.held.remove(lease);
        self.counted(inner);
    }

    /// How many attempts may have processes.
    pub(crate) fn running(&self) -> usize {
        self.lock().held.values().filter(|h| h.running).count()
    }

    /// Waits until no earlier attempt of the same job may have processes here.
    pub(crate) async fn alone(&self, lease: &HeldLease) {
        let mut count = self.count();
        while self.lock().has_earlier(lease) {
            // The sender lives as long as `self`, so waiting cannot fail.
            let _ = count.changed().await;
        }
    }

    /// Tells the waiters, after the lock is given up, since they take it in turn.
    fn counted(&self, inner: MutexGuard<'_, Inner>) {
        let held = inner.held.len();
        drop(inner);
        self.count.send_replace(held);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn begin(&mut self, lease: Lease, from_ms: u64) -> Option<Begun> {
        if self.held.contains_key(&lease.lease_id) {
            return None;
        }
        let grace_ms = lease.disconnect_grace_ms;
        let deadline_ms = from_ms.saturating_add(lease.lease_ttl_ms).saturating_add(grace_ms);
        let orders = self.hold(lease.held(), grace_ms, Some(deadline_ms), lease.inference.is_some());
        Some((lease, orders))
    }

    fn hold(
        &mut self,
        lease: HeldLease,
        grace_ms: u64,
        deadline_ms: Option<u64>,
        is_request: bool,
    ) -> watch::Receiver<Orders> {
        let (orders, receiver) = watch::channel(Orders::until(deadline_ms));
        self.accepted += 1;
        let id = lease.lease_id.clone();
        let order = self.accepted;
        self.held.insert(id, Held { lease, orders, grace_ms, order, disowned: false, running: true, is_request });
        receiver
    }

    /// How many are held: requests to models, with those that are about to be, or process jobs.
    fn count(&self, requests: bool) -> u32 {
        self.count_without(&[], requests)
    }

    /// The same without some of them.
    fn count_without(&self, without: &[LeaseId], requests: bool) -> u32 {
        let counts = |held: &&Held| held.is_request == requests && !without.contains(&held.lease.lease_id);
        let held = self.held.values().filter(counts).count();
        let brought = if requests { self.brought } else { 0 };
        u32::try_from(held + brought).unwrap_or(u32::MAX)
    }

    fn has_earlier(&self, lease: &HeldLease) -> bool {
        let own = self.held.get(&lease.lease_id).map_or(u64::MAX, |h| h.order);
        self.held.values().any(|h| h.running && h.order < own && h.lease.job_id == lease.job_id)
    }
}

impl Held {
    fn order(&self, stop: Stop) {
        self.orders.send_if_modified(|orders| orders.stop(stop));
    }
}

#[cfg(test)]
mod tests;
