//! What must hold whatever the rules say: checked on what the store shows, over time.

use std::collections::{BTreeMap, BTreeSet};

use titan_api::jobs::JobState;

use super::{
    room::mb,
    seen::Seen,
    state::{Agent, Model, Phase},
    words::Reply,
};

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The highest attempt of each job.
    attempts: BTreeMap<String, u32>,
    ended: BTreeMap<String, JobState>,
    /// The job and the attempt of each lease.
    leases: BTreeMap<String, (String, u32)>,
    /// Jobs of a class that were pending, when there were too many to look at.
    crowded: bool,
    /// How often what was reached.
    pub(super) reached: BTreeMap<String, u64>,
}

impl History {
    /// Counts what a call led to.
    pub(super) fn note_reached(&mut self, reply: &Reply, seen: &Seen) {
        let failures = seen.changed.iter().filter_map(|job| job.failures.last());
        let answers = match reply {
            Reply::Reported { answers, .. } => answers.iter().map(|a| format!("answer {a:?}")).collect(),
            _ => Vec::new(),
        };
        let reached = std::iter::once(reply.word())
            .chain(failures.map(|f| format!("failure {}", f.reason.as_str())))
            .chain(seen.agents.iter().map(|a| format!("agent {}", a.state)))
            .chain(seen.agents.iter().filter(|a| a.held_for.is_some()).map(|_| "agent held".to_owned()))
            .chain(
                seen.changed
                    .iter()
                    .map(|j| format!("job {}{}", j.state, if j.cancelling { ", cancelling" } else { "" })),
            )
            .chain(answers)
            .chain(seen.told.iter().map(|told| told.split(' ').next().unwrap_or_default().to_owned()))
            .chain(seen.agents.iter().filter(|a| a.breaker.trial_job_id.is_some()).map(|_| "a trial".to_owned()))
            .chain(
                seen.summaries
                    .values()
                    .filter(|j| j.command == "true" && j.id.as_str().len() == 36)
                    .map(|_| "a probe".to_owned()),
            );
        for what in reached {
            *self.reached.entry(what).or_default() += 1;
        }
    }

    /// A job that had ended is tried again.
    pub(super) fn reopen(&mut self, id: &str) {
        self.ended.remove(id);
    }

    /// What is broken after a call.
    pub(super) fn check(&mut self, model: &Model, seen: &Seen, is_swept: bool) -> Vec<String> {
        let mut broken = Vec::new();
        self.ends_and_attempts(seen, &mut broken);
        self.leases(model, &mut broken);
        one_place_each(seen, &mut broken);
        one_lease_each(model, &mut broken);
        for (name, agent) in &model.agents {
            if let Some(what) = overcommitted(agent) {
                broken.push(format!("agent {name} has promised more {what} than it has"));
            }
        }
        self.no_room_is_missed(model, &mut broken);
        if is_swept {
            nothing_is_overdue(model, &mut broken);
        }
        broken
    }

    /// An ended job stays ended; attempt numbers rise.
    fn ends_and_attempts(&mut self, seen: &Seen, broken: &mut Vec<String>) {
        for (id, job) in &seen.summaries {
            let before = self.attempts.insert(id.clone(), job.attempt).unwrap_or(0);
            if job.attempt < before {
                broken.push(format!("{id} went from attempt {before} to {}", job.attempt));
            }
            if let Some(end) = self.ended.get(id).filter(|end| **end != job.state) {
                broken.push(format!("{id} had ended {end} and is {} now", job.state));
            }
            if job.state.is_ended() {
                self.ended.insert(id.clone(), job.state);
            }
        }
    }

    /// No lease comes again for another attempt or another job: agents tell their attempts by it.
    fn leases(&mut self, model: &Model, broken: &mut Vec<String>) {
        for (id, live) in model.agents.values().flat_map(|a| &a.live).filter(|(_, l)| l.phase != Phase::Bound) {
            let own = (id.clone(), live.attempt);
            let known = self.leases.entry(live.lease.clone()).or_insert_with(|| own.clone());
            if *known != own || live.lease.is_empty() {
                broken.push(format!("lease {:?} is of {known:?} and of {own:?}", live.lease));
            }
        }
    }

    /// No pending job fits an agent that takes work.
    fn no_room_is_missed(&mut self, model: &Model, broken: &mut Vec<String>) {
        let pending = model.jobs.values().filter(|j| j.state == JobState::Pending).count();
        // Of many pending jobs of a class only the first are looked at, and not again before the agent's next call.
        if pending > 8 {
            self.crowded = true;
        }
        let was_crowded = std::mem::replace(&mut self.crowded, pending > 8);
        for name in model.agents.keys().filter(|name| !was_crowded && model.agents[*name].takes_work(model.now())) {
            if let Some(id) = model.first_fitting(name) {
                broken.push(format!("{id} waits while agent {name} has room"));
            }
        }
    }
}

/// The counts by state are those of the list.
fn one_place_each(seen: &Seen, broken: &mut Vec<String>) {
    let count = |is: fn(JobState) -> bool| seen.summaries.values().filter(|j| is(j.state)).count() as u64;
    let c = seen.job_counts;
    let counted = [c.blocked, c.delayed, c.pending, c.scheduled, c.running, c.ended];
    let listed = [
        count(|s| s == JobState::Blocked),
        count(|s| s == JobState::Delayed),
        count(|s| s == JobState::Pending),
        count(|s| s == JobState::Scheduled),
        count(|s| s == JobState::Running),
        count(JobState::is_ended),
    ];
    if counted != listed {
        broken.push(format!(
            "jobs blocked, delayed, pending, scheduled, running, ended: {listed:?} by the list, {counted:?} by the counts"
        ));
    }
}

fn one_lease_each(model: &Model, broken: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for id in model.agents.values().flat_map(|a| a.live.keys()) {
        if !seen.insert(id) {
            broken.push(format!("{id} is held by two agents"));
        }
    }
}

/// What an agent has promised too much of; a box that came back smaller is excused.
fn overcommitted(agent: &Agent) -> Option<&'static str> {
    let (ram, cpus, devices) = agent.reserved();
    let total = |uuid: &str| agent.facts.gpus.iter().find(|g| g.uuid == uuid).map_or(0, |g| mb(g.vram_mb));
    if devices.iter().any(|(uuid, promised)| *promised > total(uuid)) {
        return Some("GPU memory");
    }
    let on = |uuid: &str| agent.live.values().filter(|l| l.devices.iter().any(|d| d == uuid)).count();
    if agent.live.values().filter(|l| l.exclusive).flat_map(|l| &l.devices).any(|uuid| on(uuid) > 1) {
        return Some("GPUs as a whole");
    }
    let is_smaller = agent.facts.max_jobs == 1;
    if is_smaller {
        None
    } else if ram > mb(agent.facts.ram_mb) {
        Some("main memory")
    } else if cpus > i64::from(agent.facts.cpus) * 1_000 {
        Some("CPUs")
    } else if agent.live.len() > agent.facts.max_jobs as usize {
        Some("slots")
    } else {
        None
    }
}

/// No lease, queue or silence outlasts its time once everything was settled.
fn nothing_is_overdue(model: &Model, broken: &mut Vec<String>) {
    let (now, s) = (model.now(), &model.settings);
    let grace = Model::ms(s.kill_grace_ms);
    let is_amnesty = now < model.clock.amnesty_ms;
    for (id, job) in &model.jobs {
        let is_overdue = match job.state {
            JobState::Pending => false,
            JobState::Blocked => {
                let has_ended = |id: &String| model.jobs.get(id).is_none_or(|other| other.state.is_ended());
                job.spec.depends_on.iter().all(has_ended)
            }
            JobState::Delayed => job.not_before_ms.is_none_or(|at| now >= at),
            JobState::Scheduled => !is_amnesty && now >= job.bound_until_ms,
            JobState::Running => !is_amnesty && now >= job.lease_until_ms + grace,
            _ if job.cancelling => !is_amnesty && now >= job.lease_until_ms + grace,
            // One whose dependents were just told is looked at a second later.
            _ => now >= job.ended_ms.unwrap_or(0) + Model::ms(s.job_retention_ms) + 1_000,
        };
        if is_overdue {
            broken.push(format!("{id} is {} and overdue", job.state));
        }
    }
    for (name, agent) in &model.agents {
        let late = now - agent.next_ms;
        let is_offline = agent.state == titan_api::agents::AgentState::Offline;
        if !is_amnesty && late >= Model::ms(s.heartbeat_timeout_ms) && !is_offline {
            broken.push(format!("agent {name} is {} though {late} ms late", agent.state));
        }
    }
}
