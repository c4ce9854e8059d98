//! Turns between API keys: which of the waiting jobs of a class and priority goes first.

use std::collections::BTreeMap;

use titan_api::jobs::{JobState, Requirements};

use super::state::Model;

/// Who may run a job: number of GPUs, whether they are shared, labels.
pub(super) type Class = (u32, bool, BTreeMap<String, String>);

pub(super) fn class_of(r: &Requirements) -> Class {
    (r.gpus, r.exclusive, r.agent_labels.clone())
}

/// A line of waiting jobs. Each has a tag; the lowest goes first.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    /// The highest tag that was served.
    served: i64,
    /// The last tag that each key's jobs got.
    last: BTreeMap<String, i64>,
}

impl Model {
    fn class(&self, id: &str) -> Class {
        class_of(&self.jobs[id].spec.requirements)
    }

    /// The order of a job that begins to wait.
    pub(super) fn join_line(&mut self, id: &str) -> (i32, i64) {
        let (class, job) = (self.class(id), &self.jobs[id]);
        let (priority, owner) = (job.spec.priority, job.owner.clone());
        let begun = self.line_begins(priority);
        let line = self.lines.entry(class).or_default().entry(priority);
        let line = line.or_insert_with(|| Line { served: begun, ..Line::default() });
        let tag = line.last.get(&owner).map_or(line.served, |last| line.served.max(last + 1));
        line.last.insert(owner, tag);
        (-priority, tag)
    }

    /// A new line begins with the tag of the first in any other line: of the classes whose best job waits in line.
    fn line_begins(&self, priority: i32) -> i64 {
        let mut best: BTreeMap<Class, (i32, i64)> = BTreeMap::new();
        for job in self.jobs.values().filter(|j| j.state == JobState::Pending && j.order.is_some()) {
            let order = job.order.unwrap();
            let best = best.entry(class_of(&job.spec.requirements)).or_insert(order);
            *best = order.min(*best);
        }
        best.into_values().filter(|(p, tag)| *p == -priority && *tag > 0).map(|(_, tag)| tag).min().unwrap_or(1)
    }

    /// Whether others than this job wait in its class; if none does, the line is forgotten.
    fn others_wait(&mut self, id: &str) -> bool {
        let class = self.class(id);
        let mut others = self.jobs.iter().filter(|(other, j)| *other != id && j.state == JobState::Pending);
        let wait = others.any(|(_, j)| class_of(&j.spec.requirements) == class);
        if !wait {
            self.lines.remove(&class);
        }
        wait
    }

    /// A waiting job is served. What other keys got before its tag counts no more.
    pub(super) fn serve_line(&mut self, id: &str) {
        let (class, (priority, tag)) = (self.class(id), self.jobs[id].order.expect("it waited"));
        if self.others_wait(id) && tag > 0 {
            // A job that came back may be the first of its line.
            let line = self.lines.entry(class).or_default().entry(-priority).or_default();
            line.served = line.served.max(tag);
            line.last.retain(|_, last| *last >= tag);
        }
    }

    /// A waiting job is cancelled: its key's next gets a tag for it.
    pub(super) fn leave_line(&mut self, id: &str) {
        let (class, (priority, tag)) = (self.class(id), self.jobs[id].order.expect("it waited"));
        let owner = self.jobs[id].owner.clone();
        if self.others_wait(id) && tag > 0 {
            let line = self.lines.get_mut(&class).and_then(|lines| lines.get_mut(&-priority));
            if let Some(last) = line.and_then(|l| l.last.get_mut(&owner)).filter(|last| **last > 0) {
                *last -= 1;
            }
        }
        if self.jobs[id].holds.is_some() {
            self.free_hold(id);
        }
    }
}
