//! What is kept of jobs that have ended, and of what they wrote; the oldest goes first.

use std::collections::BTreeMap;

use super::state::{JobName, Model, Thing};

/// Bytes of output in one piece of what is kept.
const SEGMENT: u64 = 65_536;
/// Of the pieces, the first is kept, and so many of the latest.
const LATEST: u64 = 15;
/// The most that is written under one header, and the header.
const FRAME: u64 = 65_535;
const HEADER: u64 = 3;
/// A frame that says when what follows it came: it stands where a piece begins, and before bytes that come so long after
/// the last one, if so many have come since or if it was very long.
const MARK: u64 = 7;
const MARKED_EVERY_MS: i64 = 1_000;
const MARKED_EVERY: u64 = 64;
const MARKED_AFTER_MS: i64 = 15_000;
/// Jobs that are looked at to find one that can go.
const LOOKED_AT: usize = 16;
/// How often the ended jobs are looked at at least.
const LOOKED_AT_EVERY_MS: i64 = 600_000;
/// Ended jobs that are forgotten at once, and how many of them count as one thing that was settled.
const FORGOTTEN_AT_ONCE: usize = 64;
const JOBS_A_UNIT: usize = 16;

/// What is kept of the output of a job's latest attempt.
#[derive(Debug, Clone, Default)]
pub(super) struct KeptOutput {
    /// Bytes of each segment, with their headers.
    segments: BTreeMap<u64, u64>,
    /// Bytes under the last header.
    frame: u64,
    /// When the last mark was made, and how much was written before it.
    marked: (i64, u64),
}

impl KeptOutput {
    fn bytes(&self) -> u64 {
        self.segments.values().sum()
    }

    /// Whether a mark belongs before the next byte.
    fn mark(&mut self, written: u64, now_ms: i64) -> bool {
        let (passed_ms, bytes) = (now_ms - self.marked.0, written - self.marked.1);
        let is_due = passed_ms >= MARKED_AFTER_MS || (passed_ms >= MARKED_EVERY_MS && bytes >= MARKED_EVERY);
        let is_marked = is_due || written.is_multiple_of(SEGMENT);
        if is_marked {
            self.marked = (now_ms, written);
        }
        is_marked
    }

    fn write(&mut self, written: u64, piece: u64, now_ms: i64) {
        let number = written / SEGMENT;
        let is_marked = self.mark(written, now_ms);
        if written.is_multiple_of(SEGMENT) {
            self.frame = 0;
            let first_kept = 1.max((number + 1).saturating_sub(LATEST));
            self.segments.retain(|at, _| *at == 0 || *at >= first_kept);
        }
        let begins = is_marked || self.frame == 0 || self.frame + piece > FRAME;
        self.frame = if begins { piece } else { self.frame + piece };
        let more = u64::from(is_marked) * MARK + u64::from(begins) * HEADER;
        *self.segments.entry(number).or_default() += piece + more;
    }
}

impl Model {
    /// Takes in what is new of a chunk.
    pub(super) fn write(&mut self, id: &str, end: u64) {
        let (before, now) = (self.jobs[id].output.bytes(), self.now());
        let job = self.job(id);
        while job.written < end {
            let space = FRAME.min(SEGMENT - job.written % SEGMENT);
            let piece = space.min(end - job.written);
            job.output.write(job.written, piece, now);
            job.written += piece;
        }
        let after = job.output.bytes();
        self.output = self.output + after - before;
        if self.output > self.settings.output_budget_bytes {
            self.trim();
        }
    }

    /// What an attempt wrote is forgotten.
    pub(super) fn drop_output(&mut self, id: &str) {
        let kept = std::mem::take(&mut self.job(id).output);
        self.output -= kept.bytes();
    }

    /// The job that is forgotten next, if the pool keeps more than it is to.
    fn surplus(&self) -> Option<JobName> {
        let ended = self.jobs.iter().filter(|(_, j)| j.state.is_ended());
        let oldest = ended.clone().min_by_key(|(id, j)| (j.listed_ms, *id));
        let too_many = ended.count() as u64 > self.settings.job_retention_max;
        oldest.filter(|_| too_many).map(|(id, _)| id.clone())
    }

    /// Ended jobs that are more than the pool is to keep and that can go, the oldest first.
    fn more_surplus(&self) -> Vec<JobName> {
        let mut ended: Vec<_> = self.jobs.iter().filter(|(_, j)| j.state.is_ended()).collect();
        ended.sort_by_key(|(id, j)| (j.listed_ms, (*id).clone()));
        let over = (ended.len() as u64).saturating_sub(self.settings.job_retention_max);
        let oldest = ended.into_iter().take(usize::try_from(over).unwrap());
        oldest.filter(|(_, j)| !j.cancelling && !j.has_dependents).map(|(id, _)| id.clone()).collect()
    }

    /// The job whose output is forgotten next, if the pool keeps more of it than it is to.
    fn surplus_output(&self) -> Option<JobName> {
        let too_much = self.output > self.settings.output_budget_bytes;
        let written = self.jobs.iter().filter(|(_, j)| too_much && j.state.is_ended() && j.written > 0);
        written.min_by_key(|(id, j)| (j.ended_ms, *id)).map(|(id, _)| id.clone())
    }

    /// Has the oldest ended job that can go looked at now, if the pool keeps too much; those that can't go behind.
    pub(super) fn trim(&mut self) {
        let now = self.now();
        for _ in 0..LOOKED_AT {
            let Some(oldest) = self.surplus() else { break };
            let job = self.job(&oldest);
            if !job.cancelling && !job.has_dependents {
                self.wake(Thing::Job(oldest), now);
                break;
            }
            job.listed_ms = now;
        }
        if let Some(oldest) = self.surplus_output() {
            self.wake(Thing::Job(oldest), now);
        }
    }

    /// An ended job is looked at: what it wrote is forgotten if that is the oldest of too much.
    pub(super) fn look_at_output(&mut self, id: &str) {
        if self.surplus_output().as_deref() == Some(id) {
            self.forget_output(id);
            while let Some(oldest) = self.surplus_output() {
                self.forget_output(&oldest);
            }
            self.trim();
        }
    }

    /// An ended job is looked at: it is forgotten when its time is over, or if it is the oldest of too many. One whose
    /// dependents are not all told waits for that.
    pub(super) fn look_at_ended(&mut self, id: &str) {
        let (now, job) = (self.now(), &self.jobs[id]);
        let until = job.ended_ms.unwrap() + Self::ms(self.settings.job_retention_ms);
        if job.has_dependents {
            self.wake(Thing::Job(id.to_owned()), now + 1_000);
        } else if self.surplus().as_deref() == Some(id) {
            self.forget_job(id);
            for more in self.more_surplus() {
                self.forget_job(&more);
            }
            self.trim();
        } else if now >= until {
            self.forget_job(id);
        } else {
            self.wake(Thing::Job(id.to_owned()), until);
        }
    }

    /// Settles all that is overdue.
    pub(super) fn sweep(&mut self) {
        let now = self.now();
        if !self.ended().is_empty() {
            self.due.entry(Thing::Ended).or_insert(now);
        }
        self.finish();
        while self.due.values().any(|at| *at <= now) {
            self.finish();
        }
    }

    /// Ended jobs in the order in which they are forgotten.
    fn ended(&self) -> Vec<(i64, JobName)> {
        let ended = self.jobs.iter().filter(|(_, j)| j.state.is_ended());
        let mut ended: Vec<_> = ended.map(|(id, j)| (j.listed_ms, id.clone())).collect();
        ended.sort();
        ended
    }

    /// Forgets ended jobs whose time is over. Those that can't go go behind the others.
    pub(super) fn forget_old(&mut self) {
        let (now, kept) = (self.now(), Self::ms(self.settings.job_retention_ms));
        let old = self.ended().into_iter().filter(|(listed, _)| listed + kept <= now).take(FORGOTTEN_AT_ONCE);
        let mut gone = 0;
        for (_, id) in old {
            let job = self.job(&id);
            job.listed_ms = now;
            if !job.cancelling && !job.has_dependents {
                gone += 1;
                self.forget_job(&id);
            }
        }
        self.filled += gone / JOBS_A_UNIT;
        match self.ended().first() {
            Some((oldest, _)) => self.wake(Thing::Ended, (oldest + kept).min(now + LOOKED_AT_EVERY_MS)),
            None => drop(self.due.remove(&Thing::Ended)),
        }
    }

    fn forget_output(&mut self, id: &str) {
        self.drop_output(id);
        self.job(id).written = 0;
    }

    fn forget_job(&mut self, id: &str) {
        self.drop_output(id);
        self.jobs.remove(id);
        self.keys.retain(|_, (job, _)| job != id);
        self.due.remove(&Thing::Job(id.to_owned()));
    }
}
