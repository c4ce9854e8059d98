//! One call's worth of reports, on its way.

use titan_api::{
    ids::LeaseId,
    limits,
    work::{Answer, Happening, HeldLease, Report},
};
use tokio::time::Instant;
use tracing::error;

use super::{Inner, Outbox, bytes_of, fill::chunk};

/// Reports that are being sent. Dropped without an answer, they go back and are sent again as they are.
#[derive(Debug)]
pub(crate) struct Parcel<'a> {
    outbox: &'a Outbox,
    reports: Vec<Report>,
}

/// What the answers to a parcel mean for the attempts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Their ends were taken in: forget them.
    pub finished: Vec<HeldLease>,
    /// They are no longer current: end their processes.
    pub stale: Vec<HeldLease>,
}

impl<'a> Parcel<'a> {
    pub(super) fn new(outbox: &'a Outbox, reports: Vec<Report>) -> Self {
        Self { outbox, reports }
    }

    pub(crate) fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// The attempts whose ends are among them.
    pub(crate) fn ended(&self) -> Vec<LeaseId> {
        self.reports.iter().filter(|report| report.event.is_end()).map(|report| report.lease.lease_id.clone()).collect()
    }

    /// Bytes of output, as sent.
    pub(crate) fn output_bytes(&self) -> usize {
        self.reports.iter().map(bytes_of).sum()
    }

    /// Takes in the coordinator's answers, one for each report. If their number is wrong they mean nothing.
    pub(crate) fn settle(mut self, answers: &[Answer]) -> Settled {
        if answers.len() != self.reports.len() {
            error!("the coordinator answered {} of {} reports; they are sent again", answers.len(), self.reports.len());
            return Settled::default();
        }
        let mut settled = Settled::default();
        let mut inner = self.outbox.lock();
        inner.most = (inner.most * 2).min(limits::REPORTS);
        for (report, answer) in self.reports.drain(..).zip(answers) {
            inner.settle(report, *answer, &mut settled);
        }
        drop(inner);
        settled
    }

    /// The call was refused as a whole, and would be again: the next carries less, down to a single report, which is
    /// then given up.
    pub(crate) fn refused(mut self) -> Settled {
        if self.reports.len() > 1 {
            self.outbox.lock().most = self.reports.len() / 2;
            return Settled::default();
        }
        let mut settled = Settled::default();
        let mut inner = self.outbox.lock();
        for report in self.reports.drain(..) {
            inner.settle(report, Answer::Invalid {}, &mut settled);
        }
        drop(inner);
        settled
    }
}

impl Drop for Parcel<'_> {
    fn drop(&mut self) {
        let mut inner = self.outbox.lock();
        inner.calling = false;
        for report in self.reports.drain(..).rev() {
            // What was discarded meanwhile stays so.
            if inner.queues.contains_key(&report.lease.lease_id) {
                inner.unanswered.push_front(report);
            }
        }
        drop(inner);
        self.outbox.changed.send_replace(());
    }
}

impl Inner {
    fn settle(&mut self, report: Report, answer: Answer, settled: &mut Settled) {
        let Report { lease, event, .. } = report;
        let Some(queue) = self.queues.get_mut(&lease.lease_id) else { return };
        let output_end = chunk::end(&event);
        let is_end = event.is_end();
        match answer {
            Answer::OffsetMismatch { expected_offset } => {
                let now = Instant::now();
                queue.send_from(expected_offset, now);
                if event == (Happening::Started {}) {
                    queue.start = Some(now);
                }
                // What follows the gap would be answered the same; it is read again.
                self.unanswered.retain(|report| report.lease.lease_id != lease.lease_id);
                return;
            }
            Answer::StaleAttempt {} => {
                self.forget(&lease);
                settled.stale.push(lease);
                return;
            }
            Answer::Invalid {} => {
                error!(job.id = %lease.job_id, attempt = lease.attempt, "the coordinator cannot make sense of a report");
            }
            Answer::Accepted {} => output_end.into_iter().for_each(|end| queue.output_accepted(end)),
        }
        if is_end {
            self.forget(&lease);
            settled.finished.push(lease);
        }
    }

    fn forget(&mut self, lease: &HeldLease) {
        self.queues.remove(&lease.lease_id);
        self.unanswered.retain(|report| report.lease.lease_id != lease.lease_id);
    }
}
