//! How jobs come in, alone or many at once, and how they begin anew.

use std::collections::BTreeMap;

use titan_api::{
    ids::{AgentId, JobId},
    jobs::{JobState, SubmitJob},
    time::Timestamp,
};
use titan_lua::jobs::RetryOutcome;

use super::{
    room::could_ever,
    state::{Job, JobName, Model, Outcome, Thing},
    words::{Accepted, Reply, Wish},
};

/// Jobs that are accepted in one piece.
const AT_ONCE: usize = 32;

impl Model {
    /// Accepts jobs, a number of them in one piece: all or none of these.
    pub(super) fn submit(&mut self, wishes: &[Wish], owner: &str) -> Reply {
        if wishes.len() > 1 && wishes.iter().any(|wish| !self.is_served(&wish.spec)) {
            return Reply::Unserved;
        }
        let mut accepted = Vec::new();
        let mut meant = BTreeMap::new();
        for (number, piece) in wishes.chunks(AT_ONCE).enumerate() {
            match self.submit_piece(piece, owner, &mut meant) {
                Ok(jobs) => accepted.extend(jobs),
                Err(Reply::NoDependency { index, job }) => {
                    return Reply::NoDependency { index: number * AT_ONCE + index, job };
                }
                Err(refusal) => return refusal,
            }
            if (number + 1) * AT_ONCE < wishes.len() {
                self.finish();
            }
        }
        Reply::Submitted { jobs: accepted }
    }

    fn is_served(&self, spec: &SubmitJob) -> bool {
        spec.allow_unserved || self.agents.values().any(|a| could_ever(&a.facts, spec))
    }

    /// `meant` has the job that stands for each of the call: where the call is a repeat, one that was there.
    fn submit_piece(
        &mut self,
        piece: &[Wish],
        owner: &str,
        meant: &mut BTreeMap<JobName, JobName>,
    ) -> Result<Vec<Accepted>, Reply> {
        let mut ids: Vec<(JobName, SubmitJob, bool)> = Vec::new();
        for (index, wish) in piece.iter().enumerate() {
            let (id, is_new) = self.known(wish)?;
            let depends_on = wish.spec.depends_on.iter().map(|d| meant.get(d).unwrap_or(d).clone()).collect();
            let spec = SubmitJob { depends_on, ..wish.spec.clone() };
            let is_there = |d: &&String| self.jobs.contains_key(*d) || ids.iter().any(|(other, ..)| other == *d);
            if let Some(job) = spec.depends_on.iter().find(|d| is_new && !is_there(d)) {
                return Err(Reply::NoDependency { index, job: job.clone() });
            }
            meant.insert(wish.job.to_string(), id.clone());
            ids.push((id, spec, is_new));
        }
        // Jobs that come together were looked at before.
        if let [wish] = piece
            && ids[0].2
            && !self.is_served(&wish.spec)
        {
            return Err(Reply::Unserved);
        }
        let mut accepted = Vec::new();
        for ((id, spec, is_new), wish) in ids.into_iter().zip(piece) {
            if is_new {
                self.accept(&id, &spec, owner, wish.idem.as_ref());
            }
            accepted.push(self.accepted(&id));
        }
        Ok(accepted)
    }

    /// The job that a wish means, and whether it is new. A key that is known stands for its job, if the body is the same.
    fn known(&self, wish: &Wish) -> Result<(JobName, bool), Reply> {
        let known = wish.idem.as_ref().and_then(|(key, body)| self.keys.get(key).map(|found| (found, body)));
        match known {
            Some(((_, known), body)) if known != body => Err(Reply::Reused),
            Some(((job, _), _)) => Ok((job.clone(), false)),
            None => Ok((wish.job.to_string(), !self.jobs.contains_key(wish.job.as_str()))),
        }
    }

    fn accept(&mut self, id: &str, spec: &SubmitJob, owner: &str, idem: Option<&(String, String)>) {
        let job = self.new_job(spec, owner);
        self.jobs.insert(id.to_owned(), job);
        if let Some((key, body)) = idem {
            self.keys.insert(key.clone(), (id.to_owned(), body.clone()));
        }
        self.use_class(id);
        self.start_after_others(id);
    }

    fn accepted(&self, id: &str) -> Accepted {
        let job = &self.jobs[id];
        let agent = job.agent.as_ref().map(|name| AgentId::new(name.clone()).unwrap());
        (JobId::new(id).unwrap(), job.state, agent)
    }

    pub(super) fn new_job(&mut self, spec: &SubmitJob, owner: &str) -> Job {
        Job {
            spec: spec.clone(),
            owner: owner.to_owned(),
            state: JobState::Pending,
            order: None,
            holds: None,
            waits_ms: None,
            created_ms: self.now(),
            agent: None,
            attempt: 0,
            free: 0,
            lease: None,
            lease_until_ms: 0,
            bound_until_ms: 0,
            started_ms: None,
            ended_ms: None,
            listed_ms: 0,
            cancelling: false,
            done: None,
            written: 0,
            devices: Vec::new(),
            outcome: Outcome::default(),
            failures: Vec::new(),
            avoid: Vec::new(),
            refused: Vec::new(),
            suspects: Vec::new(),
            is_probe: false,
            not_before_ms: spec.not_before.map(Timestamp::as_ms),
            needs: None,
            has_dependents: false,
            output: super::keeping::KeptOutput::default(),
        }
    }

    /// Places a job that waits for no other, or lets it wait for its time.
    pub(super) fn start(&mut self, id: &str) {
        if let Some(at) = self.jobs[id].not_before_ms.filter(|at| self.now() < *at) {
            return self.delay(id, at);
        }
        self.job(id).not_before_ms = None;
        self.place(id);
    }

    pub(super) fn delay(&mut self, id: &str, until_ms: i64) {
        let job = self.job(id);
        (job.agent, job.not_before_ms, job.state) = (None, Some(until_ms), JobState::Delayed);
        self.wake(Thing::Job(id.to_owned()), until_ms);
    }

    /// A job that failed or was cancelled begins anew, with a new budget of attempts and nothing held against anybody. It
    /// waits again for others, and for its time if it never began.
    pub(super) fn retry(&mut self, id: &str) -> Reply {
        let Some(job) = self.jobs.get_mut(id) else { return Reply::NotFound };
        if job.state == JobState::Completed {
            return Reply::Retried(RetryOutcome::Completed);
        }
        if job.cancelling {
            return Reply::Retried(RetryOutcome::Ending);
        }
        if job.state.is_ended() && !self.is_hopeless(id) {
            let job = self.job(id);
            job.free = job.attempt;
            (job.ended_ms, job.outcome) = (None, Outcome::default());
            (job.order, job.waits_ms, job.is_probe) = (None, None, false);
            (job.avoid, job.refused, job.suspects) = (Vec::new(), Vec::new(), Vec::new());
            job.not_before_ms = job.not_before_ms.filter(|_| job.attempt == 0);
            self.tell_of_job("retried", id);
            self.due.remove(&Thing::Job(id.to_owned()));
            self.start_after_others(id);
        }
        Reply::Retried(RetryOutcome::Done(self.jobs[id].state))
    }
}
