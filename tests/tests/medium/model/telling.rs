//! Turns steps into calls, as boxes and clients make them.

use std::collections::BTreeSet;

use titan_api::{
    ids::{JobId, LeaseId},
    jobs::{Reason, SubmitJob},
    output::{Encoding, Stream},
    time::Timestamp,
    work::{Happening, HeldLease, Report},
};

use super::{
    boxes::{box_facts, box_name, measures, need},
    steps::{self, BOXES, Beat, Event, Measuring, Number, Run, Step, Which},
    story::{Story, id},
    words::{Call, Given, Next, Reply, Wish},
};

/// How long a parked agent is reachable.
const PARKED_MS: u64 = 20_000;
/// The same for one that is about to claim again.
const CLAIMS_AGAIN_MS: u64 = 1_000;

impl Story {
    pub(super) async fn tell(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Pass { ms } => {
                self.now_ms += ms;
                self.call(Call::Sweep).await.map(drop)
            }
            Step::Wait { ms } => {
                self.now_ms += ms;
                Ok(())
            }
            Step::Rounds { times, ms, silent } => {
                for _ in 0..*times {
                    self.round(*ms, *silent).await?;
                }
                Ok(())
            }
            Step::Submit { need: number, priority, max_attempts, allow_unserved, owner } => {
                let (priority, max_attempts, allow_unserved) = (*priority, *max_attempts, *allow_unserved);
                let spec = SubmitJob { priority, max_attempts, allow_unserved, ..need(*number) };
                self.submit(spec, *owner).await
            }
            Step::Crashes { agent, need: number, times } => {
                for _ in 0..*times {
                    let spec = SubmitJob { priority: 7, max_attempts: 2, allow_unserved: true, ..need(*number) };
                    self.submit(spec, 0).await?;
                    self.claim(*agent, Number::Next, 4, PARKED_MS, false, None).await?;
                    self.register(*agent, &Run::New { kept: 0, is_smaller: false }).await?;
                }
                Ok(())
            }
            Step::Wish(condition) => self.wish(condition).await,
            Step::Fan { of, leaves, need, runs_anyway } => self.fan(*of, *leaves, *need, *runs_anyway).await,
            Step::Batch { key, shape } => self.batch(*key, *shape).await,
            Step::SubmitAgain { job } => match self.nth_job(*job) {
                Some(job) => {
                    let before = &self.model.jobs[job.as_str()];
                    let (spec, owner) = (before.spec.clone(), before.owner.clone());
                    self.call(Call::Submit { jobs: vec![Wish { job, spec, idem: None }], owner }).await.map(drop)
                }
                None => Ok(()),
            },
            Step::Order { key, body, need: number, delay_ms } => {
                let not_before = (*delay_ms != 0).then(|| Timestamp::from_ms(self.now_ms + delay_ms));
                let spec = SubmitJob { allow_unserved: true, max_attempts: 2, not_before, ..need(*number) };
                self.submit_as(spec, 0, Some((format!("order{key}"), format!("body{body}")))).await
            }
            Step::Retry { job } => match self.nth_job(*job) {
                Some(job) => self.call(Call::Retry { job }).await.map(drop),
                None => Ok(()),
            },
            Step::Cancel { job } => match self.nth_job(*job) {
                Some(job) => self.call(Call::Cancel { job }).await.map(drop),
                None => Ok(()),
            },
            Step::Register { agent, run } => self.register(*agent, run).await,
            Step::Beat(beat) => self.beat(beat).await,
            Step::Claim { agent, number, slots, reach_ms, is_lost, measures } => {
                self.claim(*agent, *number, *slots, *reach_ms, *is_lost, measures.as_ref()).await
            }
            Step::Report { agent, reports, next } => self.report(*agent, reports, *next).await,
            Step::Drain { agent, draining } => {
                self.call(Call::Drain { agent: id(box_name(*agent)), draining: *draining }).await.map(drop)
            }
            Step::Remove { agent } => self.call(Call::Remove { agent: id(box_name(*agent)) }).await.map(drop),
            Step::Join { agent } => {
                self.call(Call::Join { agent: id(box_name(*agent)) }).await?;
                self.register(*agent, &Run::New { kept: 0, is_smaller: false }).await
            }
        }
    }

    pub(super) async fn submit(&mut self, spec: SubmitJob, owner: usize) -> Result<(), String> {
        self.submit_as(spec, owner, None).await
    }

    async fn submit_as(&mut self, spec: SubmitJob, owner: usize, idem: Option<(String, String)>) -> Result<(), String> {
        let job = self.next_job();
        self.call(Call::Submit { jobs: vec![Wish { job, spec, idem }], owner: format!("key-{owner}") }).await.map(drop)
    }

    /// The id of a job that is submitted next.
    pub(super) fn next_job(&mut self) -> JobId {
        self.submitted += 1;
        JobId::new(format!("job-{:03}", self.submitted)).unwrap()
    }

    pub(super) fn nth_job(&self, number: usize) -> Option<JobId> {
        let jobs = self.model.jobs.len().max(1);
        self.model.jobs.keys().nth(number % jobs).map(|id| JobId::new(id.clone()).unwrap())
    }

    /// Every box that is not silent sends a heartbeat and parks.
    pub(super) async fn round(&mut self, ms: i64, silent: u8) -> Result<(), String> {
        self.now_ms += ms;
        let is_removed = |story: &Self, n: usize| story.model.identities.get(box_name(n)) == Some(&None);
        for agent in (0..BOXES).filter(|n| silent & (1 << n) == 0) {
            if is_removed(self, agent) {
                continue;
            }
            if self.boxes[box_name(agent)].runs == 0 {
                self.register(agent, &Run::New { kept: 0, is_smaller: false }).await?;
            }
            self.beat(&Beat::usual(agent)).await?;
            self.claim(agent, Number::Next, 4, PARKED_MS, false, None).await?;
        }
        Ok(())
    }

    async fn register(&mut self, number: usize, run: &Run) -> Result<(), String> {
        let name = box_name(number);
        let before = self.boxes[name].clone();
        let (facts, running) = match run {
            Run::Same => (box_facts(number, false), Vec::new()),
            Run::New { kept, is_smaller } => {
                self.a_box(name).runs += 1;
                (box_facts(number, *is_smaller), picked(&before.holds, *kept))
            }
        };
        let instance = format!("run-{}", self.boxes[name].runs);
        let call = Call::Register { agent: id(name), instance, facts, running: running.clone() };
        if let Reply::Registered { epoch, stop } = self.call(call).await? {
            let a_box = self.a_box(name);
            if epoch != a_box.epoch {
                a_box.epoch_before = a_box.epoch;
                (a_box.epoch, a_box.seq, a_box.claim, a_box.read) = (epoch, 0, 0, 0);
                a_box.holds = running.into_iter().filter(|l| !stop.contains(l)).collect();
            }
        }
        Ok(())
    }

    async fn beat(&mut self, beat: &Beat) -> Result<(), String> {
        let name = box_name(beat.agent);
        let a_box = self.a_box(name);
        a_box.seq += u64::from(!beat.is_late);
        if beat.has_read {
            a_box.read = a_box.claim;
        }
        let a_box = a_box.clone();
        let mut leases = picked(&a_box.holds, !beat.unlisted);
        let besides = beat.besides.and_then(|n| self.nth_given(n)).filter(|l| !leases.contains(l));
        leases.extend(besides);
        let mut from = self.from(name);
        if beat.is_of_the_run_before {
            from.epoch = a_box.epoch_before;
        }
        let seen = leases.iter().map(|l| l.job_id.clone()).collect();
        let call = Call::Beat {
            from,
            seq: a_box.seq,
            last_claim: a_box.read,
            measures: measures(&box_facts(beat.agent, false), &beat.measures, seen),
            leases,
            leaving: beat.leaving,
        };
        if let Reply::Heard { stop, .. } = self.call(call).await? {
            for lease in &stop {
                self.a_box(name).drop_lease(lease);
            }
        }
        Ok(())
    }

    fn nth_given(&self, number: usize) -> Option<HeldLease> {
        self.given.get(number % self.given.len().max(1)).map(|(_, lease)| lease.clone())
    }

    async fn claim(
        &mut self,
        agent: usize,
        number: Number,
        slots: u32,
        reachable_ms: u64,
        is_lost: bool,
        m: Option<&Measuring>,
    ) -> Result<(), String> {
        let name = box_name(agent);
        let number = self.numbered(name, number);
        let measures = m.map(|m| measures(&box_facts(agent, false), m, Vec::new()));
        let call = Call::Claim { from: self.from(name), number, slots, measures, reachable_ms };
        if let Reply::Claimed { leases, .. } = self.call(call).await? {
            self.take(name, number, leases, is_lost);
        }
        Ok(())
    }

    /// The number that a box gives its claim.
    fn numbered(&mut self, name: &'static str, number: Number) -> u64 {
        let a_box = self.a_box(name);
        let number = match number {
            Number::Next => a_box.claim + 1,
            Number::Same => a_box.claim.max(1),
            Number::Lower => a_box.claim.saturating_sub(1).max(1),
        };
        a_box.claim = a_box.claim.max(number);
        number
    }

    /// A box has what its claim brought, unless the reply was lost.
    fn take(&mut self, name: &'static str, number: u64, leases: BTreeSet<Given>, is_lost: bool) {
        for given in leases {
            let lease = given.lease.expect("a real lease");
            let lease = HeldLease { job_id: given.job, attempt: given.attempt, lease_id: lease };
            if !self.given.iter().any(|(_, other)| *other == lease) {
                self.given.push((name, lease.clone()));
            }
            let holds = &mut self.a_box(name).holds;
            if !is_lost && !holds.contains(&lease) {
                holds.push(lease);
            }
        }
        if !is_lost {
            self.a_box(name).read = self.boxes[name].read.max(number);
        }
    }

    async fn report(
        &mut self,
        agent: usize,
        reports: &[(Which, Event)],
        next: Option<steps::Next>,
    ) -> Result<(), String> {
        // One that holds something, if there is one.
        let holder = (agent..BOXES).chain(0..agent).find(|n| !self.boxes[box_name(*n)].holds.is_empty());
        let name = box_name(holder.unwrap_or(agent));
        let reports: Vec<Report> =
            reports.iter().filter_map(|(which, event)| self.one_report(name, *which, *event)).collect();
        if reports.is_empty() {
            return Ok(());
        }
        let is_lost = next.is_some_and(|next| next.is_lost);
        let next = next.map(|next| Next {
            number: self.numbered(name, next.number),
            slots: next.slots,
            reachable_ms: CLAIMS_AGAIN_MS,
        });
        let call = Call::Report { from: self.from(name), reports: reports.clone(), next };
        if let Reply::Reported { leases, .. } = self.call(call).await? {
            let ends = |event: &Happening| !matches!(event, Happening::Started {} | Happening::Output { .. });
            for report in reports.iter().filter(|r| ends(&r.event)) {
                self.a_box(name).drop_lease(&report.lease);
            }
            if let Some(next) = next {
                self.take(name, next.number, leases, is_lost);
            }
        }
        Ok(())
    }

    fn one_report(&self, name: &str, which: Which, event: Event) -> Option<Report> {
        let holds = &self.boxes[name].holds;
        let held = |n: usize| holds.get(n % holds.len().max(1)).cloned();
        let lease = match which {
            Which::Held(n) => held(n),
            Which::Any(n) => self.nth_given(n),
            Which::OtherLease(n) => held(n).map(|l| HeldLease { lease_id: LeaseId::new("another").unwrap(), ..l }),
            Which::OtherAttempt(n) => held(n).map(|l| HeldLease { attempt: l.attempt + 1, ..l }),
        }?;
        let written = self.model.jobs.get(lease.job_id.as_str()).map_or(0, |j| j.written);
        Some(Report::new(lease, happening(event, written)))
    }
}

impl Beat {
    /// What a box in good order sends.
    pub(super) fn usual(agent: usize) -> Self {
        let measures = Measuring { free: 8, used: Some(0), has_ram: false, has_seen: false, rtt_ms: None };
        Self {
            agent,
            is_late: false,
            is_of_the_run_before: false,
            has_read: true,
            unlisted: 0,
            besides: None,
            leaving: false,
            measures,
        }
    }
}

fn picked(leases: &[HeldLease], bits: u8) -> Vec<HeldLease> {
    leases.iter().enumerate().filter(|(n, _)| bits & (1 << (n % 8)) != 0).map(|(_, l)| l.clone()).collect()
}

fn happening(event: Event, written: u64) -> Happening {
    match event {
        Event::Started => Happening::Started {},
        Event::Output { gap, bytes } => Happening::Output {
            offset: written.saturating_add_signed(gap),
            stream: Stream::Stdout,
            data: "x".repeat(bytes),
            encoding: Encoding::Utf8,
        },
        Event::Completed => Happening::Completed { result: None, message: None, usage: None },
        Event::Failed(reason) => Happening::Failed {
            reason,
            exit_code: (reason == Reason::ExitCode).then_some(3),
            signal: (reason == Reason::Signal).then_some(9),
            message: (reason == Reason::Refused).then(|| "the box does not allow it".to_owned()),
        },
        Event::Released => Happening::Released {},
        Event::Cancelled => Happening::Cancelled {},
    }
}
