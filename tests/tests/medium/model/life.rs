//! An attempt's and a job's ends.

use titan_api::jobs::{JobState, Reason};

use super::state::{Failure, Model, Outcome, Phase, Spent, Thing};

/// Failures of a job that are kept.
const FAILURES_KEPT: usize = 16;
/// Agents that a job keeps in a list.
const AGENTS_LISTED: usize = 8;
/// The longest wait between attempts.
const LONGEST_BACKOFF_MS: i64 = 3_600_000;

impl Model {
    /// Hands a bound job to its agent as a new attempt.
    pub(super) fn begin_attempt(&mut self, id: &str, name: &str, claim: u64) {
        let (now, lease_ms) = (self.now(), Self::ms(self.settings.lease_ttl_ms));
        self.drop_output(id);
        let job = self.jobs.get_mut(id).unwrap();
        let agent = self.agents.get_mut(name).unwrap();
        let live = agent.live.get_mut(id).unwrap();
        live.edge = agent.health.edge;
        job.attempt += 1;
        job.state = JobState::Running;
        job.lease = None;
        job.lease_until_ms = now + lease_ms;
        (job.started_ms, job.written, job.outcome) = (None, 0, Outcome::default());
        job.waits_ms = None;
        job.devices.clone_from(&live.devices);
        (live.phase, live.attempt, live.since_ms, live.claim) = (Phase::Running, job.attempt, now, claim);
        live.lease.clear();
        let end = now + lease_ms + Self::ms(self.settings.kill_grace_ms);
        self.wake(Thing::Job(id.to_owned()), end);
    }

    /// Whether the lease is the agent's current attempt of the job.
    pub(super) fn is_current(&self, name: &str, id: &str, attempt: u32, lease: &str) -> bool {
        self.agents[name]
            .live
            .get(id)
            .is_some_and(|l| l.phase != Phase::Bound && l.attempt == attempt && l.lease == lease)
    }

    /// The attempt ended other than well; the job is tried again unless its attempts are used up.
    pub(super) fn attempt_failed(&mut self, id: &str, name: &str, why: Outcome, spent: Spent) {
        if self.agents.contains_key(name) {
            self.release(id, name);
        }
        let now = self.now();
        let job = self.job(id);
        job.free += u32::from(spent == Spent::Free);
        if why.reason.is_some() {
            job.failures.push(Failure {
                attempt: job.attempt,
                agent: name.to_owned(),
                at_ms: now,
                outcome: why.clone(),
            });
            let forgotten = job.failures.len().saturating_sub(FAILURES_KEPT);
            job.failures.drain(..forgotten);
            job.outcome = why;
        }
        if job.spent() >= job.spec.max_attempts {
            self.end(id, JobState::Failed);
        } else if job.is_probe {
            self.end(id, JobState::Cancelled);
        } else {
            self.tell_of_job("retried", id);
            match (spent, self.jobs[id].spec.backoff_ms) {
                (Spent::ByItsOwnDoing, 1..) => {
                    let until_ms = self.backoff_until(id);
                    self.delay(id, until_ms);
                }
                _ => self.place(id),
            }
        }
    }

    /// Until when a job waits after an attempt: twice as long each time, and never less than half of that. Within this
    /// it is as the store has it.
    fn backoff_until(&self, id: &str) -> i64 {
        let (now, job) = (self.now(), &self.jobs[id]);
        let doubled = Self::ms(job.spec.backoff_ms).saturating_mul(1 << (job.spent() - 1).min(20));
        let most = doubled.min(LONGEST_BACKOFF_MS);
        let may_be = now + most / 2..now + most;
        self.hints.get(id).copied().filter(|at| may_be.contains(at)).unwrap_or(may_be.start)
    }

    /// Ends a job for good.
    pub(super) fn end(&mut self, id: &str, state: JobState) {
        let now = self.now();
        let job = self.job(id);
        (job.state, job.ended_ms, job.listed_ms) = (state, Some(now), now);
        self.tell_of_job(state.as_str(), id);
        if self.jobs[id].has_dependents {
            let until = now + Self::ms(self.settings.job_retention_ms);
            self.wake(Thing::Job(id.to_owned()), until);
            self.wake(Thing::After(id.to_owned()), now);
        } else {
            self.due.remove(&Thing::Job(id.to_owned()));
        }
        self.trim();
    }

    /// The processes of a cancelled attempt are gone.
    pub(super) fn bury(&mut self, id: &str, name: &str) {
        self.release(id, name);
        let job = self.job(id);
        job.cancelling = false;
        let ended = job.ended_ms.expect("it was cancelled");
        let until = ended + Self::ms(self.settings.job_retention_ms);
        self.wake(Thing::Job(id.to_owned()), until);
    }

    pub(super) fn avoid(&mut self, id: &str, name: &str) {
        prepend(&mut self.job(id).avoid, name);
    }

    pub(super) fn note_refusal(&mut self, id: &str, name: &str) {
        prepend(&mut self.job(id).refused, name);
    }

    /// An operator or client cancels a job. Whatever ends it later, it stays cancelled.
    pub(super) fn cancel(&mut self, id: &str) {
        let job = &self.jobs[id];
        let (state, agent) = (job.state, job.agent.clone());
        if state.is_ended() {
            return;
        }
        if state == JobState::Pending {
            self.leave_line(id);
        }
        let job = self.job(id);
        (job.outcome.reason, job.needs) = (Some(Reason::Cancelled), None);
        self.end(id, JobState::Cancelled);
        let Some(name) = agent.filter(|name| self.agents.contains_key(name)) else { return };
        match state {
            JobState::Scheduled => {
                self.release(id, &name);
                self.fill(&name, None);
            }
            JobState::Running => self.begin_ending(id, &name),
            _ => {}
        }
    }

    /// What the attempt has reserved stays so until its processes are gone.
    fn begin_ending(&mut self, id: &str, name: &str) {
        if let Some(live) = self.agent(name).live.get_mut(id) {
            live.phase = Phase::Ending;
            self.job(id).cancelling = true;
            let end = self.jobs[id].lease_until_ms + Self::ms(self.settings.kill_grace_ms);
            self.wake(Thing::Job(id.to_owned()), end);
        }
    }
}

fn prepend(list: &mut Vec<String>, name: &str) {
    list.retain(|other| other != name);
    list.insert(0, name.to_owned());
    list.truncate(AGENTS_LISTED);
}
