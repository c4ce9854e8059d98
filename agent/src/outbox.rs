//! Reports on their way to the coordinator. Those of one attempt stay in order, those of all attempts share calls.
//!
//! The output of jobs waits on disk, not here: what an attempt wrote is read when there is a call to put it in, so however much
//! jobs write and however long nobody answers, memory holds one call's worth. What was put in a call is sent again as
//! it was until it is answered. The answers to requests wait in memory, each within a bound.

mod fill;
mod parcel;
mod queue;
mod source;
mod spool;

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use titan_api::{
    ids::LeaseId,
    limits,
    work::{Happening, HeldLease, Report},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

pub(crate) use parcel::{Parcel, Settled};
use queue::Queue;
use source::Source;
pub(crate) use spool::Spool;

use crate::executor::LogReader;

/// Bytes of output, as sent, in one call.
const CALL_BYTES: usize = 512 * 1_024;
/// How long a bare start may wait for the first output or the end, with which most short jobs follow at once.
const START_WAITS: Duration = Duration::from_millis(15);

/// All reports that no answer has come for.
#[derive(Debug)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    /// Tells everyone who waits, since the sender of reports may change.
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Inner {
    queues: BTreeMap<LeaseId, Queue>,
    /// Was put in a call that was not answered.
    unanswered: VecDeque<Report>,
    /// Whether a call is being made.
    calling: bool,
    /// Bytes of output in it.
    calling_bytes: usize,
    /// Whether logs are being read for the next one.
    filling: bool,
    /// Reports in one call; fewer after one was refused as a whole.
    most: usize,
    flush: Duration,
    /// Who goes first in the next call.
    turn: usize,
}

impl Outbox {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let inner = Inner {
            queues: BTreeMap::new(),
            unanswered: VecDeque::new(),
            calling: false,
            calling_bytes: 0,
            filling: false,
            most: limits::REPORTS,
            flush: Duration::from_secs(1),
            turn: 0,
        };
        Self { inner: Mutex::new(inner), changed: watch::Sender::new(()) }
    }

    /// Reports on `lease` may follow; its log will be at `log`.
    pub(crate) fn open(&self, lease: HeldLease, log: &Path) {
        self.insert(lease, Source::Log(LogReader::new(log)));
    }

    /// Reports on `lease` may follow; its output is written to the spool.
    pub(crate) fn open_in_memory(&self, lease: HeldLease) -> Arc<Spool> {
        let spool = Arc::<Spool>::default();
        self.insert(lease, Source::Memory { spool: Arc::clone(&spool), at: 0 });
        spool
    }

    /// The same for an attempt of which an earlier run of the agent has reported, nobody knows how much. The last chunk of
    /// its log goes first: if the coordinator has less than that, it says from where on it wants the rest.
    pub(crate) fn reopen(&self, lease: HeldLease, log: &Path) {
        let mut queue = Queue::new(lease.clone(), Source::Log(LogReader::new(log)));
        queue.begin_near_end();
        self.lock().queues.insert(lease.lease_id, queue);
    }

    /// The program runs.
    pub(crate) fn started(&self, lease: &LeaseId) {
        self.change(lease, |queue| queue.start = Some(Instant::now() + START_WAITS));
    }

    /// The program has written something.
    pub(crate) fn output(&self, lease: &LeaseId) {
        self.change(lease, |queue| queue.has_output = true);
    }

    /// Output that went another way goes by reports from `offset` on.
    pub(crate) fn output_from(&self, lease: &LeaseId, offset: u64) {
        self.change(lease, |queue| queue.read_from(offset));
    }

    /// The attempt has ended like this, and its log is complete.
    pub(crate) fn end(&self, lease: &LeaseId, how: Happening) {
        self.change(lease, |queue| queue.end = Some(how));
    }

    /// What its client was given goes with its end, which follows.
    pub(crate) fn receipt(&self, lease: &LeaseId, receipt: String) {
        self.change(lease, |queue| queue.receipt = Some(receipt));
    }

    /// Nothing of the attempt is to be reported any more.
    pub(crate) fn discard(&self, lease: &LeaseId) {
        let mut inner = self.lock();
        inner.queues.remove(lease);
        inner.unanswered.retain(|report| report.lease.lease_id != *lease);
    }

    /// How long output is to be gathered, except the first of an attempt.
    pub(crate) fn gather_for(&self, flush: Duration) {
        self.lock().flush = flush;
        self.changed.send_replace(());
    }

    /// Waits until there is something to send.
    pub(crate) async fn due(&self) {
        self.until(Inner::due).await;
    }

    /// Waits until there is something to read before it can be sent.
    pub(crate) async fn unfilled(&self) {
        self.until(|inner, now| inner.due(now).filter(|_| inner.unanswered.is_empty())).await;
    }

    /// Waits until [`Outbox::take_filled`] gives something.
    pub(crate) async fn filled(&self) {
        self.until(|inner, now| inner.has_filled().then_some(now)).await;
    }

    /// Waits until nothing is left to be told of any request.
    pub(crate) async fn until_requests_are_told(&self) {
        self.until(|inner, now| inner.queues.values().all(|queue| !queue.is_in_memory()).then_some(now)).await;
    }

    /// The reports for the next call; `None` if nothing is due or a call is being made already.
    ///
    /// Not to be cancelled half-way: the logs being read would be forgotten.
    pub(crate) async fn take(&self) -> Option<Parcel<'_>> {
        self.fill().await;
        self.take_filled()
    }

    /// Reads what is due, so that [`Outbox::take_filled`] gives it. It may take as long as the disk does.
    ///
    /// Not to be cancelled half-way: the logs being read would be forgotten.
    pub(crate) async fn fill(&self) {
        let Some(filling) = self.lock().begin_filling(Instant::now()) else { return };
        let filled = if filling.is_slow() {
            tokio::task::spawn_blocking(move || filling.fill(CALL_BYTES)).await.unwrap_or_default()
        } else {
            filling.fill(CALL_BYTES)
        };
        self.lock().end_filling(filled);
        self.changed.send_replace(());
    }

    /// The reports for the next call, of what was read already; `None` if there are none or a call is being made.
    pub(crate) fn take_filled(&self) -> Option<Parcel<'_>> {
        let mut inner = self.lock();
        if !inner.has_filled() {
            return None;
        }
        inner.calling = true;
        let most = inner.most.min(inner.unanswered.len());
        let reports: Vec<_> = inner.unanswered.drain(..most).collect();
        inner.calling_bytes = reports.iter().map(bytes_of).sum();
        drop(inner);
        Some(Parcel::new(self, reports))
    }

    /// Bytes of output that the coordinator has not taken yet, about. It asks the disk.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        let inner = self.lock();
        let readers: Vec<_> = inner.queues.values().filter_map(Queue::reader).collect();
        let under_way = if inner.calling { inner.calling_bytes } else { 0 };
        let read = inner.unanswered.iter().map(bytes_of).sum::<usize>() + under_way;
        drop(inner);
        readers.iter().map(Source::unread_bytes).sum::<u64>() + read as u64
    }

    fn insert(&self, lease: HeldLease, log: Source) {
        self.lock().queues.insert(lease.lease_id.clone(), Queue::new(lease, log));
    }

    async fn until(&self, when: impl Fn(&Inner, Instant) -> Option<Instant>) {
        let mut changed = self.changed.subscribe();
        loop {
            let now = Instant::now();
            let due = when(&self.lock(), now);
            // The sender lives as long as `self`, so waiting for a change does not fail.
            match due {
                Some(at) if at <= now => return,
                Some(at) => tokio::select! { _ = changed.changed() => {}, () = sleep_until(at) => {} },
                None => drop(changed.changed().await),
            }
        }
    }

    fn change(&self, lease: &LeaseId, change: impl FnOnce(&mut Queue)) {
        if let Some(queue) = self.lock().queues.get_mut(lease) {
            change(queue);
        }
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes_of(report: &Report) -> usize {
    match &report.event {
        Happening::Output { data, .. } => data.len(),
        _ => 0,
    }
}

impl Inner {
    /// When there is something to send; `None` if nothing is known to come, or until what is under way has ended.
    fn due(&self, now: Instant) -> Option<Instant> {
        if self.calling || self.filling {
            return None;
        }
        if !self.unanswered.is_empty() {
            return Some(now);
        }
        self.queues.values().filter_map(|queue| queue.due(self.flush, now)).min()
    }

    fn has_filled(&self) -> bool {
        !self.calling && !self.filling && !self.unanswered.is_empty()
    }

    fn begin_filling(&mut self, now: Instant) -> Option<fill::Filling> {
        if !self.unanswered.is_empty() || self.due(now).is_none_or(|at| at > now) {
            return None;
        }
        self.filling = true;
        let flush = self.flush;
        let mut items: Vec<_> = self
            .queues
            .values_mut()
            .filter(|q| q.due(flush, now).is_some_and(|at| at <= now))
            .map(Queue::lend)
            .collect();
        if !items.is_empty() {
            self.turn = (self.turn + 1) % items.len();
            items.rotate_left(self.turn);
        }
        Some(fill::Filling { items })
    }

    fn end_filling(&mut self, filled: fill::Filled) {
        self.filling = false;
        for item in filled.items {
            if let Some(queue) = self.queues.get_mut(&item.lease.lease_id) {
                queue.give_back(item);
            }
        }
        let known = &self.queues;
        self.unanswered.extend(filled.reports.into_iter().filter(|r| known.contains_key(&r.lease.lease_id)));
    }
}

#[cfg(test)]
mod tests;
