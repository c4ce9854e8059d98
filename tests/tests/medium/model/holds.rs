//! What agents keep for jobs that were passed over.

use std::{borrow::Cow, cmp::Reverse, collections::BTreeMap};

use titan_api::{agents::AgentState, jobs::JobState};

use super::{
    lines::{Class, class_of},
    room::{could_ever, cpus_milli, is_of_class, mb},
    state::{Agent, Job, Kept, Live, Model, Name, Phase, Thing},
};

/// How long a job has to wait before it holds an agent.
const AFTER_MS: i64 = 60_000;
/// How often that is looked at.
const EVERY_MS: i64 = 10_000;
/// Jobs of a class and priority that are looked at.
const LOOKED_AT: usize = 16;

impl Model {
    /// Looks in time whether jobs that wait are passed over.
    pub(super) fn watch_for_passed_over(&mut self) {
        let at = self.now() + AFTER_MS;
        self.due.entry(Thing::Hold).or_insert(at);
    }

    fn is_good_hold(&self, job: &Job, name: &str) -> bool {
        self.agents.get(name).is_some_and(|a| {
            matches!(a.state, AgentState::Healthy | AgentState::Degraded)
                && !a.draining
                && !a.leaving
                && is_of_class(&a.facts, &job.spec.requirements)
        })
    }

    /// Held agents with room for a job: the one that it holds, and those that less urgent jobs hold.
    pub(super) fn held_with_room(&self, id: &str) -> Vec<Name> {
        let (now, job) = (self.now(), &self.jobs[id]);
        let holders = self.holds.values().filter(|h| *h == id || job.spec.priority > self.jobs[*h].spec.priority);
        let held = holders.filter_map(|h| self.jobs[h].holds.clone());
        let has_room = |name: &Name| {
            let a = &self.agents[name];
            a.takes_work(now) && self.has_room(name, id) && self.may_have(name, id)
        };
        held.filter(|name| !job.refused.contains(name) && has_room(name)).collect()
    }

    /// A job lets go of the agent that it holds.
    pub(super) fn free_hold(&mut self, id: &str) {
        let job = self.job(id);
        let (priority, name) = (job.spec.priority, job.holds.take().expect("a hold"));
        self.holds.remove(&priority);
        if let Some(agent) = self.agents.get_mut(&name) {
            (agent.held, agent.kept) = (None, Kept::default());
            self.freed.push(name);
        }
    }

    /// An agent changes or goes: the job that holds it looks for another at once.
    pub(super) fn drop_hold(&mut self, name: &str) {
        if let Some(id) = self.agents[name].held.clone() {
            self.free_hold(&id);
            let now = self.now();
            self.wake(Thing::Hold, now);
        }
    }

    /// Agents that the job could hold, those with the fewest attempts; avoided ones only if there are no others.
    fn agents_to_hold(&self, id: &str) -> Vec<Name> {
        let job = &self.jobs[id];
        let could = self.agents.iter().filter(|(name, a)| {
            let is_free = a.held.is_none() && !job.refused.contains(name);
            is_free && self.is_member(name, id) && self.is_good_hold(job, name) && could_ever(&a.facts, &job.spec)
        });
        let mut could: Vec<_> = could.map(|(name, a)| (job.avoid.contains(name), a.live.len(), name)).collect();
        could.sort();
        let equals = could.iter().take_while(|c| (c.0, c.1) == (could[0].0, could[0].1));
        equals.map(|c| c.2.clone()).collect()
    }

    /// Of each class and priority, the first few waiting jobs.
    fn first_waiting(&self) -> BTreeMap<(i32, Class), Vec<&String>> {
        let mut waiting: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (id, job) in self.jobs.iter().filter(|(_, j)| j.state == JobState::Pending) {
            let group = (job.spec.priority, class_of(&job.spec.requirements));
            waiting.entry(group).or_default().push(id);
        }
        for ids in waiting.values_mut() {
            ids.sort_by_key(|id| (self.jobs[*id].order, *id));
            ids.truncate(LOOKED_AT);
        }
        waiting
    }

    pub(super) fn settle_holds(&mut self) {
        let holders: Vec<_> = self.holds.values().cloned().collect();
        for id in holders {
            let job = &self.jobs[&id];
            if self.is_good_hold(job, job.holds.as_ref().expect("a hold")) {
                self.reconsider(&id);
            } else {
                self.free_hold(&id);
            }
        }
        for id in self.passed_over() {
            self.give_hold(&id);
        }
        if self.jobs.values().any(|j| j.state == JobState::Pending) {
            let next = self.now() + EVERY_MS;
            self.wake(Thing::Hold, next);
        } else {
            self.due.remove(&Thing::Hold);
        }
    }

    /// The first long-waiting job of each priority without a hold that some agent could run, the most urgent first.
    fn passed_over(&self) -> Vec<String> {
        let mut first = BTreeMap::new();
        for ((priority, _), ids) in self.first_waiting() {
            let is_passed_over = |id: &&&String| {
                let waits_ms = self.jobs[**id].waits_ms.expect("it waits");
                self.now() - waits_ms >= AFTER_MS && !self.agents_to_hold(id).is_empty()
            };
            if let Some(id) = ids.iter().find(is_passed_over).filter(|_| !self.holds.contains_key(&priority)) {
                let found = (self.jobs[*id].order, *id);
                let best = first.entry(priority).or_insert(found);
                *best = found.min(*best);
            }
        }
        first.into_values().rev().map(|(_, id)| id.clone()).collect()
    }

    /// The job holds an agent, and goes before all others of its priority.
    fn give_hold(&mut self, id: &str) {
        let could = self.agents_to_hold(id);
        let way = self.choices.choose(could.len());
        if let Some(name) = could.get(way) {
            let job = self.job(id);
            (job.holds, job.order) = (Some(name.clone()), Some((-job.spec.priority, 0)));
            let priority = job.spec.priority;
            self.holds.insert(priority, id.to_owned());
            self.agent(name).held = Some(id.to_owned());
            let (name, now) = (name.clone(), self.now());
            self.keep_devices(&name, id, now);
        }
    }

    /// Keeps the devices that the job is likely to have first, for twice as long as all choices before.
    fn keep_devices(&mut self, name: &str, id: &str, since_ms: i64) {
        let now = self.now();
        let again_ms = now + AFTER_MS.max(now - since_ms);
        let devices = self.agents[name].likely_devices(&self.jobs[id]);
        self.agent(name).kept = Kept { devices, since_ms, again_ms };
    }

    fn reconsider(&mut self, id: &str) {
        let name = self.jobs[id].holds.clone().expect("a hold");
        let (again_ms, since_ms) = (self.agents[&name].kept.again_ms, self.agents[&name].kept.since_ms);
        if self.now() >= again_ms {
            self.keep_devices(&name, id, since_ms);
            self.freed.push(name);
        }
    }

    /// An agent as if the job that holds it were there already.
    pub(super) fn beside(&self, name: &str) -> Cow<'_, Agent> {
        let agent = &self.agents[name];
        let Some(id) = &agent.held else { return Cow::Borrowed(agent) };
        let r = &self.jobs[id].spec.requirements;
        let kept = Live {
            phase: Phase::Bound,
            attempt: 0,
            lease: String::new(),
            devices: agent.kept.devices.clone(),
            vram_mb: mb(r.vram_mb),
            ram_mb: mb(r.ram_mb),
            cpus_milli: cpus_milli(r),
            since_ms: i64::MAX / 2,
            claim: 0,
            exclusive: r.exclusive,
            edge: 0,
        };
        let mut beside = agent.clone();
        beside.live.insert(id.clone(), kept);
        Cow::Owned(beside)
    }
}

impl Agent {
    /// As many devices as the job needs: first those with room, then those whose oldest attempt began last, at last those that
    /// would not do even without attempts.
    fn likely_devices(&self, job: &Job) -> Vec<String> {
        let r = &job.spec.requirements;
        let begun = |uuid: &str| {
            let here = self.live.values().filter(|l| l.devices.iter().any(|d| d == uuid));
            let has_room = self.vram_left(uuid) >= mb(r.vram_mb) && self.is_open(uuid, r.exclusive);
            let could = self.vram_most(uuid) >= mb(r.vram_mb);
            if has_room { i64::MAX } else { here.map(|l| l.since_ms).min().filter(|_| could).unwrap_or(-1) }
        };
        let mut devices: Vec<_> = self.facts.gpus.iter().map(|g| g.uuid.clone()).collect();
        devices.sort_by_key(|uuid| Reverse(begun(uuid)));
        devices.truncate(r.gpus as usize);
        devices
    }
}
