//! Which agent a job goes to, and which job an agent takes when it has room.

use std::collections::BTreeMap;

use super::{
    lines::{Class, class_of},
    room::{cpus_milli, mb},
    state::{Live, Model, Name, Phase, Thing},
};
use titan_api::{agents::AgentState, jobs::JobState};

/// An agent that is reachable for longer than this is parked, and has only the claim timeout to come for a job.
const PARKED_MS: i64 = 1_000;
/// Pending jobs of one class that are looked at when an agent has room.
const LOOKED_AT_IN_A_CLASS: usize = 16;
/// The same if none of those fits; no story has so many that it would be gone on behind these the next time.
const LOOKED_AT_FURTHER_ON: usize = 64;
/// Jobs that are bound to an agent at once when it has room.
const FILLED_AT_ONCE: usize = 16;

impl Model {
    /// Gives a job to the best agent that has room for it, or lets it wait.
    pub(super) fn place(&mut self, id: &str) {
        match self.best_agent(id) {
            Some(agent) => self.bind(id, &agent),
            None => self.pend(id),
        }
    }

    /// One that is to be tried, or else the best by score, of equals the one used least recently. One that the job avoids only if no other has room.
    pub(super) fn best_agent(&mut self, id: &str) -> Option<Name> {
        if let Some(name) = self.on_trial(id) {
            return Some(name);
        }
        let (now, job) = (self.now(), &self.jobs[id]);
        let (gpus, weights) = (job.spec.requirements.gpus, self.weights);
        let mut fitting: Vec<_> = (self.agents.iter())
            .filter(|(name, a)| a.takes_work(now) && !job.refused.contains(name))
            .filter(|(name, a)| a.state != AgentState::HalfOpen && self.has_room_beside(name, id))
            .map(|(name, a)| (job.avoid.contains(name), -a.score_step(gpus, &weights), a.used, name))
            .collect();
        fitting.sort();
        let equals = fitting.iter().take_while(|f| (f.0, f.1, f.2) == (fitting[0].0, fitting[0].1, fitting[0].2));
        let mut equals: Vec<Name> = equals.map(|f| f.3.clone()).collect();
        if equals.is_empty() {
            equals = self.held_with_room(id);
        }
        let way = self.choices.choose(equals.len());
        equals.get(way).cloned()
    }

    /// Whether an agent is of the job's class and has room for it.
    pub(super) fn has_room(&self, name: &str, id: &str) -> bool {
        self.is_member(name, id) && self.devices_for(name, id).is_some()
    }

    /// The same, beside what the agent keeps for another job.
    fn has_room_beside(&self, name: &str, id: &str) -> bool {
        self.is_member(name, id) && self.beside(name).devices_for(&self.jobs[id].spec).is_some()
    }

    /// The devices that an agent has for a job: beside what it keeps or, if the job may have that, of all.
    fn devices_for(&self, name: &str, id: &str) -> Option<Vec<String>> {
        let (agent, job) = (&self.agents[name], &self.jobs[id]);
        let goes_before = |holder: &String| holder == id || job.spec.priority > self.jobs[holder].spec.priority;
        let may_have_all = agent.held.as_ref().is_none_or(goes_before);
        let all = || may_have_all.then(|| agent.devices_for(&job.spec)).flatten();
        self.beside(name).devices_for(&job.spec).or_else(all)
    }

    /// Reserves what the job needs and puts it into the agent's queue.
    pub(super) fn bind(&mut self, id: &str, name: &str) {
        let devices = self.devices_for(name, id).expect("room");
        if self.jobs[id].holds.is_some() {
            self.free_hold(id);
        }
        let (now, count) = (self.now(), self.next_count());
        let (claim_timeout, interval) = (self.settings.claim_timeout_ms, self.settings.heartbeat_interval_ms);
        let job = self.jobs.get_mut(id).unwrap();
        let agent = self.agents.get_mut(name).unwrap();
        let r = &job.spec.requirements;
        let live = Live {
            phase: Phase::Bound,
            attempt: job.attempt,
            lease: String::new(),
            devices,
            vram_mb: mb(r.vram_mb),
            ram_mb: mb(r.ram_mb),
            cpus_milli: cpus_milli(r),
            since_ms: now,
            claim: 0,
            exclusive: r.exclusive,
            edge: agent.health.edge,
        };
        let is_parked = agent.reach_ms - now > PARKED_MS;
        let patience = if is_parked { claim_timeout } else { claim_timeout.max(interval) };
        agent.used = count;
        job.order = job.order.or(Some((-job.spec.priority, 0)));
        if agent.state == AgentState::HalfOpen {
            (agent.health.trial, agent.health.asked_ms) = (Some(id.to_owned()), now);
        }
        agent.live.insert(id.to_owned(), live);
        job.agent = Some(name.to_owned());
        job.bound_until_ms = now + Self::ms(patience);
        job.state = JobState::Scheduled;
        let until = job.bound_until_ms;
        self.wake(Thing::Job(id.to_owned()), until);
    }

    /// Takes a bound job out of its agent's queue.
    pub(super) fn unbind(&mut self, id: &str, name: &str) {
        self.release(id, name);
        self.job(id).agent = None;
    }

    pub(super) fn pend(&mut self, id: &str) {
        self.need_class(id);
        if self.jobs[id].order.is_none() {
            let order = self.join_line(id);
            self.job(id).order = Some(order);
        }
        let now = self.now();
        let job = self.job(id);
        job.waits_ms = job.waits_ms.or(Some(now));
        job.agent = None;
        job.state = JobState::Pending;
        self.due.remove(&Thing::Job(id.to_owned()));
        self.watch_for_passed_over();
    }

    /// The pending jobs of each class, in their order.
    fn lines_of_pending(&self) -> BTreeMap<Class, Vec<&String>> {
        let mut lines: BTreeMap<Class, Vec<&String>> = BTreeMap::new();
        for (id, job) in self.jobs.iter().filter(|(_, job)| job.state == JobState::Pending) {
            lines.entry(class_of(&job.spec.requirements)).or_default().push(id);
        }
        for line in lines.values_mut() {
            line.sort_by_key(|id| (self.jobs[*id].order, *id));
        }
        lines
    }

    /// Of each class the first job that fits a box, in their order; in a class of whose first few none does, further on.
    fn first_fitting_of_each(&self, name: &str, fits: impl Fn(&String) -> bool) -> Vec<&String> {
        let mut fitting = Vec::new();
        for line in self.lines_of_pending().into_values() {
            let within = |most: usize| line.iter().take(most).copied().find(|id| self.is_member(name, id) && fits(id));
            fitting.extend(within(LOOKED_AT_IN_A_CLASS).or_else(|| within(LOOKED_AT_FURTHER_ON)));
        }
        fitting.sort_by_key(|id| (self.jobs[*id].order, *id));
        fitting
    }

    /// Whether so many of its class wait before a pending job that it was found by looking further on.
    fn is_far(&self, id: &str) -> bool {
        let lines = self.lines_of_pending();
        let place = lines[&class_of(&self.jobs[id].spec.requirements)].iter().position(|other| *other == id);
        place.is_some_and(|place| place >= LOOKED_AT_IN_A_CLASS)
    }

    /// The first pending job that the agent has room for. If it is held, what is more urgent than the job that holds it goes
    /// first, then that job, then what has room beside it.
    pub(super) fn first_fitting(&self, name: &str) -> Option<String> {
        let agent = &self.agents[name];
        let holder = agent.held.as_ref();
        let has_room = |id: &String| self.may_have(name, id) && self.devices_for(name, id).is_some();
        let fits = |id: &String| !self.jobs[id].refused.iter().any(|r| r == name) && has_room(id);
        let is_urgent = |id: &String| holder.is_none_or(|h| self.jobs[id].spec.priority > self.jobs[h].spec.priority);
        let fitting = self.first_fitting_of_each(name, fits);
        let urgent = fitting.iter().find(|id| is_urgent(id)).copied();
        let own = || holder.filter(|h| has_room(h));
        urgent.or_else(own).or_else(|| fitting.first().copied()).cloned()
    }

    /// Binds pending jobs to an agent as long as one fits, at most `most`, or as many as this call may; the rest later.
    pub(super) fn fill(&mut self, name: &str, most: Option<usize>) -> Vec<String> {
        let mut bound = Vec::new();
        let (is_limited, now) = (most.is_none(), self.now());
        let most = most.unwrap_or(FILLED_AT_ONCE.saturating_sub(self.filled));
        let is_waited_for = self.jobs.values().any(|j| j.state == JobState::Pending);
        while self.agents[name].takes_work(self.now())
            && bound.len() < most
            && let Some(id) = self.first_fitting(name)
        {
            // One that was found far behind the first in line says nothing about whose turn it is.
            if !self.is_far(&id) {
                self.serve_line(&id);
            }
            self.bind(&id, name);
            self.filled += 1;
            bound.push(id);
        }
        if is_limited && is_waited_for && bound.len() == most && self.agents[name].takes_work(now) {
            self.wake(Thing::Room(name.to_owned()), now);
        }
        bound
    }
}
