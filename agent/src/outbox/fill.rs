//! Filling one call: reads the logs, in turns, until the call is full. This touches the disk, so it happens on a
//! thread where waiting harms nobody.

pub(super) mod chunk;

use titan_api::{
    limits,
    work::{Happening, HeldLease, Report},
};
use tracing::warn;

use super::source::Source;

/// What goes with a report besides its data, roughly.
const REPORT_BYTES: usize = 256;

/// What is due, in the order of turns.
#[derive(Debug, Default)]
pub(super) struct Filling {
    pub items: Vec<Item>,
}

/// Where reading goes on.
#[derive(Debug, Clone, Copy)]
pub(super) enum From {
    /// At this byte: the coordinator has what comes before it.
    Offset(u64),
    /// One chunk before the end.
    NearEnd,
}

/// Due reports of one attempt.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says one thing about one report, in any combination")]
pub(super) struct Item {
    pub lease: HeldLease,
    /// The start is to be reported; `false` once it is.
    pub start: bool,
    /// `None` once its output is given up.
    pub log: Option<Source>,
    /// Where to read on, if not where it left off.
    pub from: Option<From>,
    /// How it ended, to be reported after all output.
    pub end: Option<Happening>,
    /// Goes with that.
    pub receipt: Option<String>,
    /// Whether that was put in.
    pub end_taken: bool,
    /// Whether output was put in.
    pub wrote: bool,
    /// Whether there was no room for all of it.
    pub more: bool,
}

/// A filled call, and what was lent for it.
#[derive(Debug, Default)]
pub(super) struct Filled {
    pub reports: Vec<Report>,
    pub items: Vec<Item>,
}

impl Filling {
    /// Whether filling may wait for a disk.
    pub(super) fn is_slow(&self) -> bool {
        self.items.iter().any(|item| item.log.as_ref().is_some_and(Source::is_slow))
    }

    /// Takes what fits in a call of about `most_bytes`.
    pub(super) fn fill(mut self, most_bytes: usize) -> Filled {
        let mut call = Call { reports: Vec::new(), bytes: 0, most_bytes };
        self.items.iter_mut().for_each(|item| item.begin(&mut call));
        let mut open: Vec<_> = self.items.iter_mut().collect();
        while !open.is_empty() && !call.is_full() {
            open.retain_mut(|item| !call.is_full() && item.step(&mut call));
        }
        for item in open {
            item.more = true;
        }
        Filled { reports: call.reports, items: self.items }
    }
}

struct Call {
    reports: Vec<Report>,
    bytes: usize,
    most_bytes: usize,
}

impl Call {
    fn is_full(&self) -> bool {
        self.reports.len() >= limits::REPORTS || self.bytes >= self.most_bytes
    }

    fn push(&mut self, lease: &HeldLease, event: Happening) {
        self.bytes += REPORT_BYTES;
        if let Happening::Output { data, .. } = &event {
            self.bytes += data.len();
        }
        self.reports.push(Report::new(lease.clone(), event));
    }
}

impl Item {
    fn begin(&mut self, call: &mut Call) {
        if let (Some(from), Some(log)) = (self.from.take(), &mut self.log) {
            let sought = match from {
                From::NearEnd => log.seek_near_end(limits::OUTPUT_CHUNK_BYTES as u64).map_err(|e| e.to_string()),
                From::Offset(offset) => match log.seek(offset) {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(format!("the coordinator wants it from byte {offset}, which was not written")),
                    Err(e) => Err(e.to_string()),
                },
            };
            if let Err(why) = sought {
                self.give_up(&why);
            }
        }
        if self.start && !call.is_full() {
            call.push(&self.lease, Happening::Started {});
            self.start = false;
        }
    }

    /// Puts in the next report; `false` if there was none left.
    fn step(&mut self, call: &mut Call) -> bool {
        let next = self.log.as_mut().map_or(Ok(None), |log| log.next(limits::OUTPUT_CHUNK_BYTES));
        match next {
            Ok(Some(piece)) => {
                call.push(&self.lease, chunk::output(piece));
                self.wrote = true;
                true
            }
            Ok(None) => self.finish(call),
            Err(e) => {
                self.give_up(&e.to_string());
                true
            }
        }
    }

    fn finish(&mut self, call: &mut Call) -> bool {
        if let Some(end) = self.end.take() {
            call.push(&self.lease, end);
            if let Some(report) = call.reports.last_mut() {
                report.receipt = self.receipt.take();
            }
            self.end_taken = true;
        }
        false
    }

    fn give_up(&mut self, why: &str) {
        warn!(job.id = %self.lease.job_id, attempt = self.lease.attempt, "no more output of the attempt is sent: {why}");
        self.log = None;
    }
}
