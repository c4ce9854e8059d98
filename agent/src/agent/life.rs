//! The life of an attempt, whichever loop hears of it: begun by a claim, taken over from an earlier run, ended, revoked.

use std::{sync::Arc, time::Duration};

use titan_api::{
    ids::LeaseId,
    inference::InferenceSpec,
    work::{Happening, HeldLease, Lease},
};
use tokio::sync::watch;
use tracing::{debug, info};

use super::Agent;
use crate::{
    attempts::{OpenClaim, Orders, Revoked},
    clock,
    executor::{Left, Sign},
    outbox::{Settled, Spool},
    relay,
    trace::Trace,
    vitals,
};

impl Agent {
    /// Begins the attempts that `claim` has brought.
    pub(crate) fn begin(self: &Arc<Self>, claim: OpenClaim, leases: Vec<Lease>) {
        for (mut lease, orders) in self.attempts.accept(claim, leases, clock::now_ms()) {
            let trace = self.tracer.of_attempt(&mut lease);
            // Before anything can happen to it.
            if let Some(request) = lease.inference.clone() {
                let spool = self.outbox.open_in_memory(lease.held());
                tokio::spawn(Arc::clone(self).answer(lease, request, spool, orders, trace));
            } else {
                self.outbox.open(lease.held(), &self.executor.folder(&lease).log());
                tokio::spawn(Arc::clone(self).run_attempt(lease, orders, trace));
            }
        }
    }

    /// Answers a request to a model.
    async fn answer(
        self: Arc<Self>,
        lease: Lease,
        request: InferenceSpec,
        spool: Arc<Spool>,
        orders: watch::Receiver<Orders>,
        trace: Option<Trace>,
    ) {
        let held = lease.held();
        debug!(job.id = %lease.job_id, attempt = lease.attempt, model = request.model, "request begins");
        let asked = relay::Asked {
            lease: &held,
            timeout_ms: lease.timeout_ms,
            request: &request,
            traceparent: lease.traceparent,
        };
        let end = relay::run(&self, asked, &spool, orders, None).await;
        self.finish(&held, false, trace, end);
    }

    async fn run_attempt(self: Arc<Self>, lease: Lease, orders: watch::Receiver<Orders>, trace: Option<Trace>) {
        let held = lease.held();
        self.attempts.alone(&held).await;
        info!(job.id = %lease.job_id, attempt = lease.attempt, "attempt begins");
        let kill_grace = Duration::from_millis(self.settings.borrow().kill_grace_ms);
        let note = trace.as_ref().map(Trace::note);
        let end = self.executor.run(&lease, note, orders, kill_grace, |sign| self.seen(&lease.lease_id, sign)).await;
        self.finish(&held, !lease.devices.is_empty(), trace, end);
    }

    /// Holds what an earlier run of the agent has left, so that registering tells of it.
    pub(crate) fn take_over(&self, left: Vec<Left>) -> Vec<(Left, watch::Receiver<Orders>)> {
        let hold = |left: Left| {
            self.outbox.reopen(left.lease().clone(), &left.log());
            let orders = self.attempts.adopt(left.lease().clone(), left.owed.disconnect_grace_ms);
            (left, orders)
        };
        left.into_iter().map(hold).collect()
    }

    /// Goes on with what was taken over.
    pub(crate) fn resume(self: &Arc<Self>, taken: Vec<(Left, watch::Receiver<Orders>)>) {
        for (left, orders) in taken {
            let agent = Arc::clone(self);
            tokio::spawn(async move {
                let (lease, has_devices) = (left.lease().clone(), left.has_devices());
                let trace = agent.tracer.taken_over(left.owed.trace.clone());
                let end = agent.executor.resume(left, orders, |sign| agent.seen(&lease.lease_id, sign)).await;
                agent.finish(&lease, has_devices, trace, end);
            });
        }
    }

    /// Nothing of the attempt runs any more; the collector is told, if it is part of a trace.
    fn finish(&self, lease: &HeldLease, has_devices: bool, trace: Option<Trace>, end: Option<Happening>) {
        if let Some(trace) = trace {
            trace.end(lease, self.link.session().agent_id.as_ref(), end.as_ref());
        }
        self.conclude(lease, has_devices, end);
    }

    /// Nothing of the attempt runs any more.
    pub(crate) fn conclude(&self, lease: &HeldLease, has_devices: bool, end: Option<Happening>) {
        let id = &lease.lease_id;
        self.vitals.ended(end.as_ref());
        if has_devices {
            // Until the memory that it used is measured as free, nobody else gets it.
            self.beat_now.notify_one();
        }
        if let Some(how) = end {
            // What a program or a backend says of it may be secret, so it is not told.
            info!(job.id = %lease.job_id, attempt = lease.attempt, "attempt ended: {}", vitals::word(Some(&how)));
            self.attempts.ended(id);
            self.outbox.end(id, how);
        } else {
            info!(job.id = %lease.job_id, attempt = lease.attempt, "attempt ended: its processes are gone");
            self.outbox.discard(id);
            self.attempts.remove(id);
            self.executor.settle(lease);
            if !self.settings.borrow().parking {
                // Its slot is free, and only a heartbeat can claim for it.
                self.beat_now.notify_one();
            }
        }
    }

    fn seen(&self, lease: &LeaseId, sign: Sign) {
        match sign {
            Sign::Started => self.outbox.started(lease),
            Sign::Output => self.outbox.output(lease),
        }
    }

    /// What became of reports.
    pub(crate) fn settled(&self, settled: &Settled) {
        for lease in &settled.finished {
            self.attempts.remove(&lease.lease_id);
            self.executor.settle(lease);
        }
        self.revoke_all(&settled.stale);
    }

    /// Attempts that are no longer this agent's: their processes end and nothing of them is reported.
    pub(crate) fn revoke_all(&self, leases: &[HeldLease]) {
        for lease in leases {
            // Heartbeats list it until its processes are gone, so this may be said many times.
            let revoked = self.attempts.revoke(&lease.lease_id);
            if revoked != Revoked::Known {
                info!(job.id = %lease.job_id, attempt = lease.attempt, "the attempt is no longer this agent's");
                self.outbox.discard(&lease.lease_id);
            }
            if revoked == Revoked::Gone {
                self.executor.settle(lease);
            }
        }
    }
}
