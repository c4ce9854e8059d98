//! Jobs that wait for others to end.

use titan_api::jobs::{JobState, OnDependencyFailure, Reason};

use super::state::{Job, JobName, Model, Thing};

/// Dependents that are told of an end with one call.
const TOLD_AT_ONCE: usize = 8;

/// Whether a job lets one go on that depends on it; none while it has not ended.
fn allows(dependency: &Job, job: &Job) -> Option<bool> {
    match dependency.state {
        JobState::Completed => Some(true),
        state if state.is_ended() => Some(job.spec.on_dependency_failure == OnDependencyFailure::Run),
        _ => None,
    }
}

impl Model {
    /// A job waits for what it depends on, or begins. What is not there any more has let it go on.
    pub(super) fn start_after_others(&mut self, id: &str) {
        let mut waits_for = Vec::new();
        for dependency in self.jobs[id].spec.depends_on.clone() {
            let Some(found) = self.jobs.get(&dependency) else { continue };
            match allows(found, &self.jobs[id]) {
                Some(false) => return self.fail_after(id, &dependency),
                Some(true) => {
                    self.dependents.entry(dependency).or_default().retain(|other| other != id);
                }
                None if waits_for.contains(&dependency) => {}
                None => {
                    self.next_count();
                    let dependents = self.dependents.entry(dependency.clone()).or_default();
                    dependents.retain(|other| other != id);
                    dependents.push(id.to_owned());
                    self.job(&dependency).has_dependents = true;
                    waits_for.push(dependency);
                }
            }
        }
        if waits_for.is_empty() {
            return self.start(id);
        }
        let job = self.job(id);
        job.needs = Some(u32::try_from(waits_for.len()).unwrap());
        job.state = JobState::Blocked;
    }

    fn fail_after(&mut self, id: &str, dependency: &str) {
        let message = format!("job {dependency} is {}", self.jobs[dependency].state);
        let job = self.job(id);
        job.needs = None;
        (job.outcome.reason, job.outcome.message) = (Some(Reason::DependencyFailed), Some(message));
        self.end(id, JobState::Cancelled);
    }

    /// Whether a job was cancelled because of another that is not there any more.
    pub(super) fn is_hopeless(&self, id: &str) -> bool {
        let outcome = &self.jobs[id].outcome;
        let cause = outcome.message.as_ref().and_then(|message| message.split(' ').nth(1));
        outcome.reason == Some(Reason::DependencyFailed) && cause.is_some_and(|cause| !self.jobs.contains_key(cause))
    }

    /// Tells some of those that wait for a job that it has ended: of one job with each call.
    pub(super) fn settle_dependents(&mut self, id: &str) {
        if std::mem::replace(&mut self.has_told, true) {
            return;
        }
        if self.jobs.get(id).is_some_and(|job| !job.state.is_ended()) {
            self.due.remove(&Thing::After(id.to_owned()));
            return;
        }
        let waiting = self.dependents.entry(id.to_owned()).or_default();
        let told: Vec<JobName> = waiting.drain(..TOLD_AT_ONCE.min(waiting.len())).collect();
        for dependent in &told {
            self.tell_of_end(dependent, id);
        }
        self.filled += told.len();
        if told.len() < TOLD_AT_ONCE {
            self.due.remove(&Thing::After(id.to_owned()));
            if let Some(job) = self.jobs.get_mut(id) {
                job.has_dependents = false;
            }
        }
    }

    fn tell_of_end(&mut self, id: &str, dependency: &str) {
        let (Some(job), Some(ended)) = (self.jobs.get(id), self.jobs.get(dependency)) else { return };
        if job.state != JobState::Blocked {
            return;
        }
        if allows(ended, job) != Some(true) {
            return self.fail_after(id, dependency);
        }
        let job = self.job(id);
        job.needs = job.needs.filter(|needs| *needs > 1).map(|needs| needs - 1);
        if job.needs.is_none() {
            self.start(id);
        }
    }
}
