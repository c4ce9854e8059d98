//! Classes of jobs: known from their first job until none has used them for a while. Only agents that were looked at for a
//! class are given its jobs.

use std::collections::{BTreeMap, BTreeSet};

use titan_api::jobs::JobState;

use super::{
    lines::{Class, class_of},
    room::is_of_class,
    state::{Model, Name, Thing},
};

/// How long a class that nobody uses is known.
const DROPPED_AFTER_MS: i64 = 600_000;
/// How often it is noted that a class is used.
const USE_NOTED_EVERY_MS: i64 = 60_000;
/// Waiting jobs that are placed when a class has been made.
const PLACED_AT_ONCE: usize = 16;

/// What is known of a class.
#[derive(Debug, Clone)]
pub(super) struct Known {
    used_ms: i64,
    /// Agents that are yet to be looked at; none once it is made.
    unseen: Option<BTreeSet<Name>>,
}

/// The classes that are known.
pub(super) type Classes = BTreeMap<Class, Known>;

impl Model {
    /// A new job uses its class, which is made at once if it is not known.
    pub(super) fn use_class(&mut self, id: &str) {
        let (class, now) = (class_of(&self.jobs[id].spec.requirements), self.now());
        match self.classes.get_mut(&class) {
            Some(known) if now - known.used_ms >= USE_NOTED_EVERY_MS => known.used_ms = now,
            Some(_) => {}
            None => {
                self.classes.insert(class.clone(), Known { used_ms: now, unseen: None });
                self.wake(Thing::Class(class), now + DROPPED_AFTER_MS);
            }
        }
    }

    /// A job is to wait in its class: if that was dropped meanwhile, it is made again as soon as something is settled.
    pub(super) fn need_class(&mut self, id: &str) {
        let (class, now) = (class_of(&self.jobs[id].spec.requirements), self.now());
        if !self.classes.contains_key(&class) {
            let unseen = Some(self.agents.keys().cloned().collect());
            self.classes.insert(class.clone(), Known { used_ms: now, unseen });
            self.wake(Thing::Class(class), now);
        }
    }

    /// An agent that registers is looked at for every class.
    pub(super) fn enrol(&mut self, name: &str) {
        for unseen in self.classes.values_mut().filter_map(|known| known.unseen.as_mut()) {
            unseen.remove(name);
        }
    }

    /// Whether an agent is known to be of a job's class.
    pub(super) fn is_member(&self, name: &str, id: &str) -> bool {
        let r = &self.jobs[id].spec.requirements;
        let known = self.classes.get(&class_of(r));
        let was_seen = |known: &Known| known.unseen.as_ref().is_none_or(|unseen| !unseen.contains(name));
        known.is_some_and(was_seen) && is_of_class(&self.agents[name].facts, r)
    }

    /// Makes a class that is not made yet, or drops one that was not used for long and in which no job waits.
    pub(super) fn settle_class(&mut self, class: &Class) {
        let now = self.now();
        let waiting = self.waiting_in(class);
        let Some(known) = self.classes.get_mut(class) else {
            self.due.remove(&Thing::Class(class.clone()));
            return;
        };
        if known.unseen.take().is_some() {
            self.wake(Thing::Class(class.clone()), now + DROPPED_AFTER_MS);
            self.place_waiting(waiting);
        } else if now - known.used_ms >= DROPPED_AFTER_MS && waiting.is_empty() {
            self.classes.remove(class);
            self.due.remove(&Thing::Class(class.clone()));
        } else {
            self.wake(Thing::Class(class.clone()), now + DROPPED_AFTER_MS);
        }
    }

    /// The jobs that wait in a class, in their order.
    fn waiting_in(&self, class: &Class) -> Vec<String> {
        let waiting = self.jobs.iter().filter(|(_, job)| job.state == JobState::Pending);
        let mut waiting: Vec<_> = waiting.filter(|(_, job)| class_of(&job.spec.requirements) == *class).collect();
        waiting.sort_by_key(|(id, job)| (job.order, *id));
        waiting.into_iter().map(|(id, _)| id.clone()).collect()
    }

    fn place_waiting(&mut self, waiting: Vec<String>) {
        for id in waiting.into_iter().take(PLACED_AT_ONCE) {
            if let Some(name) = self.best_agent(&id) {
                self.serve_line(&id);
                self.bind(&id, &name);
                self.filled += 1;
            }
        }
    }
}
