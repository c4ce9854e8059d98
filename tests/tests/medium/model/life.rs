//! An attempt's and a job's ends.

use titan_api::jobs::{JobState, Reason};

use super::state::{Failure, Model, Outcome, Phase, Thing};

/// Failures of a job that are kept.
const FAILURES_KEPT: usize = 16;
/// Agents that a job keeps in a list.
const AGENTS_LISTED: usize = 8;

impl Model {
    /// Hands a bound job to its agent as a new attempt.
    pub(super) fn begin_attempt(&mut self, id: &str, name: &str, claim: u64) {
        let (now, lease_ms) = (self.now(), Self::ms(self.settings.lease_ttl_ms));
        let job = self.jobs.get_mut(id).unwrap();
        let live = self.agents.get_mut(name).unwrap().live.get_mut(id).unwrap();
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
    pub(super) fn attempt_failed(&mut self, id: &str, name: &str, why: Outcome, is_free: bool) {
        if let Some(agent) = self.agents.get_mut(name) {
            agent.live.remove(id);
        }
        let now = self.now();
        let job = self.job(id);
        job.free += u32::from(is_free);
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
        } else {
            self.place(id);
        }
    }

    /// Ends a job for good.
    pub(super) fn end(&mut self, id: &str, state: JobState) {
        let now = self.now();
        let job = self.job(id);
        (job.state, job.ended_ms) = (state, Some(now));
        let until = now + Self::ms(self.settings.job_retention_ms);
        self.wake(Thing::Job(id.to_owned()), until);
    }

    /// The processes of a cancelled attempt are gone.
    pub(super) fn bury(&mut self, id: &str, name: &str) {
        self.agent(name).live.remove(id);
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
        self.end(id, JobState::Cancelled);
        self.job(id).outcome.reason = Some(Reason::Cancelled);
        let Some(name) = agent.filter(|name| self.agents.contains_key(name)) else { return };
        match state {
            JobState::Scheduled => {
                self.agent(&name).live.remove(id);
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
