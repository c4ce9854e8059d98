//! What an agent's heartbeats, claims and reports do.

use std::collections::{BTreeMap, BTreeSet};

use titan_api::{
    agents::Measures,
    jobs::{JobState, Reason},
    work::{Answer, Happening, HeldLease, Report},
};

use super::{
    room::mb,
    state::{Measured, Model, Outcome, Phase, Spent},
    words::{Call, Given, Next, Reply},
};

impl Model {
    pub(super) fn of_an_agent(&mut self, name: &str, call: &Call) -> Reply {
        match call {
            Call::Beat { seq, last_claim, measures, leases, leaving, .. } => {
                self.beat(name, *seq, *last_claim, measures, leases, *leaving)
            }
            Call::Claim { number, slots, measures, reachable_ms, .. } => {
                self.claimed(name, *number, *slots as usize, measures.as_ref(), Self::ms(*reachable_ms))
            }
            Call::Report { reports, next, .. } => {
                let answers = self.reports(name, reports);
                let leases = self.claimed_next(name, *next);
                Reply::Reported { answers, leases, cancel: self.to_cancel(name) }
            }
            other => panic!("{other:?} is no call of an agent"),
        }
    }

    /// A heartbeat with a lower number than the last changes nothing.
    fn beat(
        &mut self,
        name: &str,
        seq: u64,
        last_claim: u64,
        measures: &Measures,
        leases: &[HeldLease],
        leaving: bool,
    ) -> Reply {
        let mut stop = Vec::new();
        if seq > self.agents[name].seq {
            self.agent(name).seq = seq;
            self.heard(name);
            self.measure(name, measures);
            let kept;
            (kept, stop) = leases.iter().cloned().partition(|l| self.renew(name, l));
            self.take_back_unlisted(name, last_claim, &kept);
            self.look_at_trial(name);
            if leaving && !self.agents[name].leaving {
                let agent = self.agent(name);
                (agent.leaving, agent.reach_ms) = (true, 0);
                self.send_away_bound(name);
            }
            self.fill(name, None);
        }
        Reply::Heard { stop, cancel: self.to_cancel(name), draining: self.agents[name].draining }
    }

    /// Renews a lease that is current.
    fn renew(&mut self, name: &str, lease: &HeldLease) -> bool {
        let id = lease.job_id.as_str();
        let is_current = self.is_current(name, id, lease.attempt, lease.lease_id.as_str());
        if is_current {
            self.job(id).lease_until_ms = self.now() + Self::ms(self.settings.lease_ttl_ms);
        }
        is_current
    }

    /// A lease whose claim the agent has read, but which it does not list, is held by nobody. The oldest job goes first.
    fn take_back_unlisted(&mut self, name: &str, last_claim: u64, kept: &[HeldLease]) {
        let is_unlisted = |id: &str| kept.iter().all(|l| l.job_id.as_str() != id);
        let live = &self.agents[name].live;
        let unlisted =
            live.iter().filter(|(id, l)| l.phase != Phase::Bound && l.claim <= last_claim && is_unlisted(id));
        let unlisted: Vec<_> = unlisted.map(|(id, l)| (id.clone(), l.phase)).collect();
        for (id, phase) in unlisted {
            match phase {
                Phase::Ending => self.bury(&id, name),
                _ => self.attempt_failed(&id, name, Outcome::default(), Spent::Free),
            }
        }
    }

    fn claimed(&mut self, name: &str, number: u64, most: usize, measures: Option<&Measures>, reach_ms: i64) -> Reply {
        let leases = self.claimed_before(name, number).unwrap_or_else(|| {
            if let Some(measures) = measures {
                self.measure(name, measures);
            }
            self.claim(name, number, most, reach_ms)
        });
        Reply::Claimed { leases, cancel: self.to_cancel(name) }
    }

    /// What a claim of this number has got, renewed, or nothing for one that was overtaken; none if it is to get something.
    fn claimed_before(&mut self, name: &str, number: u64) -> Option<BTreeSet<Given>> {
        let agent = &self.agents[name];
        if number < agent.claim {
            return Some(BTreeSet::new());
        }
        let got = agent.live.iter().filter(|(_, l)| l.phase == Phase::Running && l.claim == number);
        let got: BTreeSet<_> = got.map(|(id, l)| self.given(id, Some(&l.lease))).collect();
        if number > agent.claim || got.is_empty() {
            return None;
        }
        let until = self.now() + Self::ms(self.settings.lease_ttl_ms);
        for given in &got {
            self.job(given.job.as_str()).lease_until_ms = until;
        }
        Some(got)
    }

    /// The claim that comes with reports; without a new one, what they free is for whatever waits.
    fn claimed_next(&mut self, name: &str, next: Option<Next>) -> BTreeSet<Given> {
        let before = next.map(|next| self.claimed_before(name, next.number));
        if let (Some(next), Some(None)) = (next, &before) {
            return self.claim(name, next.number, next.slots as usize, Self::ms(next.reachable_ms));
        }
        self.fill(name, None);
        before.flatten().unwrap_or_default()
    }

    /// Takes a measurement in: clamped to what the agent registered, in steps of 1/128 or 64 MB.
    fn measure(&mut self, name: &str, m: &Measures) {
        let now = self.now();
        let agent = self.agent(name);
        let gpus = agent.facts.gpus.iter().filter_map(|g| {
            let found = m.gpus.iter().find(|found| found.uuid == g.uuid)?;
            let used = found.used_by_attempts_mb.map(|used| coarse(used, g.vram_mb));
            Some((g.uuid.clone(), (coarse(found.free_mb, g.vram_mb), used)))
        });
        let measured = Measured {
            at_ms: now,
            ram_mb: m.ram_free_mb.map(|free| coarse(free, agent.facts.ram_mb)),
            gpus: gpus.collect::<BTreeMap<_, _>>(),
            seen: m.seen.iter().map(ToString::to_string).collect(),
        };
        agent.measured = Some(measured);
        if let Some(ms) = m.rtt_ms {
            let step = if ms < 50.0 { 1.0 } else { 5.0 };
            agent.rtt_ms = Some((ms / step + 0.5).floor() * step);
        }
    }

    /// Once a chunk came too far on, the rest of the batch about that lease gets the same answer.
    fn reports(&mut self, name: &str, reports: &[Report]) -> Vec<Answer> {
        let mut mismatched: BTreeMap<String, Answer> = BTreeMap::new();
        let mut answers = Vec::new();
        for report in reports {
            let lease = report.lease.lease_id.to_string();
            let known = self.jobs.contains_key(report.lease.job_id.as_str());
            let answer = match mismatched.get(&lease) {
                Some(answer) if known => *answer,
                _ => self.report(name, report),
            };
            if matches!(answer, Answer::OffsetMismatch { .. }) {
                mismatched.insert(lease, answer);
            }
            answers.push(answer);
        }
        answers
    }

    fn report(&mut self, name: &str, report: &Report) -> Answer {
        let lease = &report.lease;
        let (id, lease_id) = (lease.job_id.as_str(), lease.lease_id.as_str());
        if self.jobs.contains_key(id) && self.is_current(name, id, lease.attempt, lease_id) {
            return self.current_report(name, id, &report.event);
        }
        match self.jobs.get(id) {
            Some(job) if job.done.as_deref() == Some(lease_id) => Answer::Accepted {},
            _ => Answer::StaleAttempt {},
        }
    }

    fn current_report(&mut self, name: &str, id: &str, event: &Happening) -> Answer {
        let now = self.now();
        let job = self.job(id);
        let is_running = job.state == JobState::Running;
        match event {
            Happening::Started {} => {
                if is_running && job.started_ms.is_none() {
                    job.started_ms = Some(now);
                }
            }
            Happening::Output { .. } if !is_running => {}
            Happening::Output { offset, .. } if *offset > job.written => {
                return Answer::OffsetMismatch { expected_offset: job.written };
            }
            Happening::Output { offset, data, .. } => self.write(id, offset + data.len() as u64),
            end => {
                job.done.clone_from(&job.lease);
                if is_running { self.attempt_ended(name, id, end) } else { self.bury(id, name) }
            }
        }
        Answer::Accepted {}
    }

    fn attempt_ended(&mut self, name: &str, id: &str, event: &Happening) {
        match event {
            Happening::Completed { .. } => {
                self.went_well(id, name);
                self.release(id, name);
                self.job(id).outcome.exit_code = Some(0);
                self.end(id, JobState::Completed);
            }
            Happening::Failed { reason, exit_code, signal, message } => {
                let is_refusal = *reason == Reason::Refused;
                if is_refusal {
                    self.note_refusal(id, name);
                } else {
                    self.avoid(id, name);
                    self.suspect(id, name);
                }
                let outcome =
                    Outcome { reason: Some(*reason), exit_code: *exit_code, signal: *signal, message: message.clone() };
                let spent = if is_refusal { Spent::Free } else { Spent::ByItsOwnDoing };
                self.attempt_failed(id, name, outcome, spent);
            }
            _ => {
                let why = Outcome { reason: Some(Reason::Released), ..Outcome::default() };
                let spent = if self.jobs[id].started_ms.is_none() { Spent::Free } else { Spent::Counts };
                self.attempt_failed(id, name, why, spent);
            }
        }
    }
}

/// In steps of 1/128 of the total, at least 64 MB.
fn coarse(megabytes: u64, total: u64) -> i64 {
    let step = 64.max(total / 128);
    mb(megabytes.min(total) / step * step)
}
