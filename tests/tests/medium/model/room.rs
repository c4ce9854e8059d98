//! What an agent has, what is left of it, whether a job fits, and how good the agent is for it.

use std::{cmp::Reverse, collections::BTreeMap};

use titan_api::{
    agents::{AgentState, Facts},
    jobs::{JobKind, Requirements, SubmitJob},
    scheduler::Weights,
};

use super::state::{Agent, Live};

/// An attempt that started so long before a measurement is in it, where use by process can't be read.
const SEEN_AFTER_MS: i64 = 60_000;

pub(super) fn mb(megabytes: u64) -> i64 {
    i64::try_from(megabytes).unwrap()
}

#[expect(clippy::cast_possible_truncation, reason = "a few CPUs")]
pub(super) fn cpus_milli(r: &Requirements) -> i64 {
    (r.cpus * 1_000.0).ceil() as i64
}

/// Who may run a job, but for how much it needs: kind, number of GPUs, labels.
pub(super) fn is_of_class(facts: &Facts, r: &Requirements) -> bool {
    facts.accepts_processes
        && facts.gpus.len() >= r.gpus as usize
        && r.agent_labels.iter().all(|(name, value)| facts.labels.get(name) == Some(value))
}

/// Whether a box like this could ever run the job.
pub(super) fn could_ever(facts: &Facts, job: &SubmitJob) -> bool {
    assert_eq!(job.kind, JobKind::Process);
    let r = &job.requirements;
    let large_enough = facts.gpus.iter().filter(|g| g.vram_mb >= r.vram_mb).count();
    is_of_class(facts, r)
        && large_enough >= r.gpus as usize
        && facts.ram_mb >= r.ram_mb
        && i64::from(facts.cpus) * 1_000 >= cpus_milli(r)
}

impl Agent {
    /// In service, and waiting for work or due to call within a moment.
    pub(super) fn takes_work(&self, now_ms: i64) -> bool {
        self.state != AgentState::Offline && !self.draining && !self.leaving && self.reach_ms >= now_ms
    }

    pub(super) fn has_slot(&self) -> bool {
        self.live.len() < self.facts.max_jobs as usize
    }

    /// Main memory: what is there, or what was measured, less what attempts were promised.
    pub(super) fn ram_left(&self) -> i64 {
        let promised: i64 = self.live.values().map(|l| l.ram_mb).sum();
        let left = mb(self.facts.ram_mb) - promised;
        let measured = self.measured.as_ref().and_then(|m| {
            let unseen = self.live.values().filter(|l| m.at_ms - l.since_ms < SEEN_AFTER_MS);
            m.ram_mb.map(|free| free - unseen.map(|l| l.ram_mb).sum::<i64>())
        });
        left.min(measured.unwrap_or(left)).max(0)
    }

    pub(super) fn cpus_left(&self) -> i64 {
        let taken: i64 = self.live.values().map(|l| l.cpus_milli).sum();
        (i64::from(self.facts.cpus) * 1_000 - taken).max(0)
    }

    /// Effective free memory of a device: free at the last measurement, plus what our attempts used, less the larger of
    /// promised and used for those that were seen, less what was promised to the others.
    pub(super) fn vram_left(&self, uuid: &str) -> i64 {
        let total = self.facts.gpus.iter().find(|g| g.uuid == uuid).map_or(0, |g| mb(g.vram_mb));
        let here = || self.live.iter().filter(|(_, l)| l.devices.iter().any(|d| d == uuid));
        if here().any(|(_, l)| l.exclusive) {
            return 0;
        }
        let all: i64 = here().map(|(_, l)| l.vram_mb).sum();
        let measured = self.measured.as_ref().and_then(|m| m.gpus.get(uuid).map(|found| (m, *found)));
        let left = match measured {
            None => total - all,
            Some((m, (free, used))) => {
                let was_seen = |id: &str, live: &Live| {
                    m.seen.contains(id) || used.is_none() && m.at_ms - live.since_ms >= SEEN_AFTER_MS
                };
                let seen: i64 = here().filter(|(id, l)| was_seen(id, l)).map(|(_, l)| l.vram_mb).sum();
                free - (all - seen) + used.map_or(0, |used| used - seen.max(used))
            }
        };
        left.min(total - all).max(0)
    }

    /// What a device could have left without our attempts, as far as was measured.
    pub(super) fn vram_most(&self, uuid: &str) -> i64 {
        let total = self.facts.gpus.iter().find(|g| g.uuid == uuid).map_or(0, |g| mb(g.vram_mb));
        let measured = self.measured.as_ref().and_then(|m| m.gpus.get(uuid).map(|found| (m, *found)));
        let Some((m, (free, used))) = measured else { return total };
        let here = self.live.iter().filter(|(_, l)| l.devices.iter().any(|d| d == uuid));
        let seen = here.filter(|(id, l)| m.seen.contains(*id) || m.at_ms - l.since_ms >= SEEN_AFTER_MS);
        total.min(free + used.unwrap_or_else(|| seen.map(|(_, l)| l.vram_mb).sum()))
    }

    /// Whether a job could have the device at all: one that shares, or one that does not.
    pub(super) fn is_open(&self, uuid: &str, exclusive: bool) -> bool {
        let mut here = self.live.values().filter(|l| l.devices.iter().any(|d| d == uuid));
        if exclusive { here.next().is_none() } else { !here.any(|l| l.exclusive) }
    }

    /// The devices for a job if there is room for it now: of those with room the ones with the least.
    pub(super) fn devices_for(&self, job: &SubmitJob) -> Option<Vec<String>> {
        let r = &job.requirements;
        if !self.has_slot() || self.ram_left() < mb(r.ram_mb) || self.cpus_left() < cpus_milli(r) {
            return None;
        }
        let open = self.facts.gpus.iter().filter(|g| self.is_open(&g.uuid, r.exclusive));
        let lefts = open.map(|g| (self.vram_left(&g.uuid), g.uuid.clone()));
        let mut fitting: Vec<_> = lefts.filter(|(left, _)| *left >= mb(r.vram_mb)).collect();
        fitting.sort_by_key(|(left, _)| *left);
        (fitting.len() >= r.gpus as usize).then(|| fitting.into_iter().take(r.gpus as usize).map(|(_, d)| d).collect())
    }

    /// 0 to 1, with these weights, for jobs that need so many GPUs.
    pub(super) fn score(&self, gpus: u32, w: &Weights) -> f64 {
        let slots = f64::from(self.facts.max_jobs);
        let load = (1.0 - f64::from(u32::try_from(self.live.len()).unwrap()) / slots).max(0.0);
        let rtt = self.rtt_ms.map_or(0.5, |ms| 1.0 / (1.0 + ms / 50.0));
        let sum = self.memory_part(gpus) * w.vram + load * w.load + rtt * w.rtt + 0.5 * w.performance + w.cost;
        if self.state == AgentState::Degraded { sum * 0.5 } else { sum }
    }

    fn memory_part(&self, gpus: u32) -> f64 {
        if gpus == 0 {
            return ratio(self.ram_left(), mb(self.facts.ram_mb));
        }
        let lefts =
            self.facts.gpus.iter().enumerate().map(|(i, g)| (self.vram_left(&g.uuid), Reverse(i), mb(g.vram_mb)));
        lefts.max().map_or(0.0, |(left, _, total)| ratio(left, total))
    }

    /// The score as it is compared: in 8,191 steps.
    #[expect(clippy::cast_possible_truncation, reason = "at most 8,191")]
    pub(super) fn score_step(&self, gpus: u32, weights: &Weights) -> i64 {
        (self.score(gpus, weights) * 8_191.0).floor() as i64
    }

    /// What live attempts have reserved: main memory, thousandths of CPUs, and memory by device.
    pub(super) fn reserved(&self) -> (i64, i64, BTreeMap<&str, i64>) {
        let mut by_device = BTreeMap::new();
        for live in self.live.values() {
            for device in &live.devices {
                *by_device.entry(device.as_str()).or_default() += live.vram_mb;
            }
        }
        (self.live.values().map(|l| l.ram_mb).sum(), self.live.values().map(|l| l.cpus_milli).sum(), by_device)
    }
}

fn ratio(part: i64, whole: i64) -> f64 {
    let exact = |n: i64| f64::from(i32::try_from(n).unwrap());
    if whole > 0 { exact(part) / exact(whole) } else { 0.0 }
}
