//! What is still to be reported about one attempt.

use std::{sync::Arc, time::Duration};

use titan_api::work::{Happening, HeldLease};
use tokio::time::Instant;

use super::{
    fill::{From, Item},
    source::Source,
    spool::Spool,
};

/// So often in a row may the coordinator ask for output from elsewhere; then its end alone is reported.
const MISMATCHES: u32 = 8;
/// How long an end waits if the coordinator still asks for output that is not sent any more.
const END_WAITS: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Queue {
    lease: HeldLease,
    /// Lent while a call is filled.
    log: Option<Source>,
    /// Where it was when it was lent.
    lent: Option<Source>,
    /// Where output waits until it is accepted, if it is in memory.
    spool: Option<Arc<Spool>>,
    /// By when to report the start; `None` before it and once that is on its way.
    pub start: Option<Instant>,
    /// Whether the log may hold more than was read of it.
    pub has_output: bool,
    /// When output last went into a call.
    output_at: Option<Instant>,
    /// Where to read on, if not where it left off.
    wanted_from: Option<From>,
    mismatches: u32,
    pub end: Option<Happening>,
    /// What the client of a ticket was given, to go with its end.
    pub receipt: Option<String>,
    /// Whether the end is on its way.
    end_sent: bool,
    /// When the end may go.
    end_at: Option<Instant>,
}

impl Queue {
    pub(super) fn new(lease: HeldLease, log: Source) -> Self {
        let spool = match &log {
            Source::Log(_) => None,
            Source::Memory { spool, .. } => Some(Arc::clone(spool)),
        };
        Self {
            lease,
            log: Some(log),
            lent: None,
            spool,
            start: None,
            has_output: false,
            output_at: None,
            wanted_from: None,
            mismatches: 0,
            end: None,
            receipt: None,
            end_sent: false,
            end_at: None,
        }
    }

    /// Reads the log from its last chunk on.
    pub(super) fn begin_near_end(&mut self) {
        self.wanted_from = Some(From::NearEnd);
        self.has_output = true;
    }

    /// Reads the output from `offset` on.
    pub(super) fn read_from(&mut self, offset: u64) {
        self.wanted_from = Some(From::Offset(offset));
        self.has_output = true;
    }

    /// Whether its output is in memory.
    pub(super) fn is_in_memory(&self) -> bool {
        self.spool.is_some()
    }

    /// When the next report of this attempt should go; output after the first is gathered for `flush`.
    pub(super) fn due(&self, flush: Duration, now: Instant) -> Option<Instant> {
        let end = (self.end.is_some() && !self.end_sent).then(|| self.end_at.unwrap_or(now));
        let output = self.has_output.then(|| self.output_at.map_or(now, |at| at + flush));
        [self.start, output, end].into_iter().flatten().min()
    }

    /// Everything needed to read the next reports.
    pub(super) fn lend(&mut self) -> Item {
        self.has_output = false;
        self.lent.clone_from(&self.log);
        Item {
            lease: self.lease.clone(),
            start: self.start.take().is_some(),
            log: self.log.take().filter(|_| self.mismatches <= MISMATCHES),
            from: self.wanted_from.take(),
            end: self.end.clone().filter(|_| !self.end_sent),
            receipt: self.receipt.clone(),
            end_taken: false,
            wrote: false,
            more: false,
        }
    }

    pub(super) fn give_back(&mut self, item: Item) {
        if item.start {
            self.start = Some(Instant::now());
        }
        if item.wrote {
            self.output_at = Some(Instant::now());
        }
        if item.more {
            // A full call is followed by the next at once.
            (self.has_output, self.output_at) = (true, None);
        }
        self.end_sent |= item.end_taken;
        (self.log, self.lent) = (item.log, None);
    }

    /// Reads what is still to be reported; `None` if nothing of it is sent any more.
    pub(super) fn reader(&self) -> Option<Source> {
        self.log.clone().or_else(|| self.lent.clone())
    }

    /// The coordinator has the output before `offset`.
    pub(super) fn output_accepted(&mut self, offset: u64) {
        self.mismatches = 0;
        if let Some(spool) = &self.spool {
            spool.release(offset);
        }
    }

    /// The coordinator's output ends elsewhere: everything from there on is sent again, and the end after it. Of
    /// several answers in one call the first counts.
    pub(super) fn send_from(&mut self, offset: u64, now: Instant) {
        self.end_sent = false;
        if self.wanted_from.is_none() {
            self.wanted_from = Some(From::Offset(offset));
            self.mismatches = self.mismatches.saturating_add(1);
        }
        if self.log.is_none() {
            self.end_at = Some(now + END_WAITS);
        } else {
            (self.has_output, self.output_at) = (true, None);
        }
    }
}
