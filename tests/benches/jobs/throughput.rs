//! Jobs a second from the first submission to the last end, with submitters and agents that cost hardly anything.
//!
//! "Single" means that each job is submitted in a call of its own, by 32 callers that wait for its answer. How jobs are
//! handed out and their ends reported is the same in both runs, and what the agent that ships does where jobs end as soon as
//! here: with nothing to report it has a claim parked, for all of its slots; each lease is a task of its own, which ends at once;
//! and one call at a time reports what has ended since the one before was filled, and claims for the slots that are free then.
//! Nothing waits for others to end with it: the first end is on its way at once. Only the starts are left out, which that agent
//! puts in the same calls: nothing runs here. Where jobs take longer, an agent with a free slot has its claim parked and reports
//! without one, and only one that is full claims with its reports.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use futures_util::future::join_all;
use titan_api::{
    PROTOCOL,
    ids::AgentId,
    jobs::{SubmitBatch, SubmittedBatch, SubmittedJob},
    limits,
    work::{Claim, ClaimReply, ClaimRequest, ReportReply, ReportRequest},
};
use titan_tests::{protocol_agent::completed, wire::Wire};
use tokio::sync::{Notify, mpsc};

use crate::{Bench, JOBS, job};

const AGENTS: usize = 4;
/// Calls under way at once where jobs are submitted singly, and in batches: as many as the other queue has.
const SUBMITTERS: usize = 32;
const SUBMITTERS_OF_BATCHES: usize = 4;
const WAIT_MS: u64 = 500;

/// How many jobs are done.
#[derive(Default)]
struct Done {
    count: AtomicUsize,
    all: Notify,
}

impl Done {
    fn add(&self, count: usize) {
        if self.count.fetch_add(count, Ordering::Relaxed) + count >= JOBS {
            self.all.notify_one();
        }
    }

    fn is_over(&self) -> bool {
        self.count.load(Ordering::Relaxed) >= JOBS
    }
}

/// Runs jobs that are submitted `at_once` in a call, on agents of this round with so many slots.
pub(crate) async fn run(bench: &Bench, group: &'static str, round: usize, at_once: usize, slots: u32) -> f64 {
    let done = Arc::new(Done::default());
    let mut workers = Vec::new();
    for i in 0..AGENTS {
        let agent = bench.agent_with(&format!("{group}-{round}-{i}"), slots).await;
        let address = bench.coordinator.address();
        let wire = Wire::connect(&address, agent.token()).await;
        workers.push(tokio::spawn(work(agent.id, wire, slots, Arc::clone(&done))));
    }
    let submitters = if at_once == 1 { SUBMITTERS } else { SUBMITTERS_OF_BATCHES };
    let key = bench.coordinator.api_key().await;
    let address = bench.coordinator.address();
    let wires = join_all((0..submitters).map(|_| Wire::connect(&address, &key))).await;
    let next = AtomicUsize::new(0);
    let (before, cpu_before) = (bench.redis.command_counts().await, bench.cpu_us().await);
    let begun = Instant::now();
    join_all(wires.into_iter().map(|wire| submit(wire, group, at_once, &next))).await;
    done.all.notified().await;
    let rate = JOBS as f64 / begun.elapsed().as_secs_f64();
    let cpu_us = bench.cpu_us().await;
    let (scripts, all) = bench.commands_since(&before).await;
    let (scripts, all) = (scripts as f64 / JOBS as f64, all as f64 / JOBS as f64);
    let [redis, coordinator, own] = std::array::from_fn(|i| (cpu_us[i] - cpu_before[i]) / JOBS as f64);
    println!(
        "{group:<28} {rate:>10.0}   each {scripts:.2} scripts, {all:.1} Redis commands in all; \
         CPU us: Redis {redis:.0}, coordinator {coordinator:.0}, this program {own:.0}"
    );
    for worker in workers {
        worker.await.unwrap();
    }
    rate
}

async fn submit(mut wire: Wire, group: &str, at_once: usize, next: &AtomicUsize) {
    loop {
        let first = next.fetch_add(at_once, Ordering::Relaxed);
        let count = at_once.min(JOBS.saturating_sub(first));
        if count == 0 {
            return;
        } else if at_once == 1 {
            let _: SubmittedJob = wire.post("/api/v1/jobs", &job(group)).await;
        } else {
            let batch = SubmitBatch { jobs: vec![job(group); count] };
            let _: SubmittedBatch = wire.post("/api/v1/jobs/batch", &batch).await;
        }
    }
}

/// Waits for work while it has none; then reports what has ended, one call at a time, and claims with the same call.
async fn work(agent: AgentId, mut wire: Wire, slots: u32, done: Arc<Done>) {
    let path = |verb| format!("/api/v1/agents/{agent}/{verb}");
    let (claims, reports_to) = (path("claim"), path("report"));
    let (ended, mut ends) = mpsc::unbounded_channel();
    let (mut running, mut reports) = (0, Vec::new());
    for number in 1.. {
        let claim = |running| Claim { claim: number, free_slots: slots - running, free_requests: 0 };
        let leases = if running == 0 {
            let claim = ClaimRequest { protocol: PROTOCOL, claim: claim(0), measures: None, wait_ms: WAIT_MS };
            wire.post::<ClaimReply>(&claims, &claim).await.leases
        } else {
            let count = ends.recv_many(&mut reports, limits::REPORTS).await;
            running -= u32::try_from(count).unwrap();
            let reports = std::mem::take(&mut reports);
            let request = ReportRequest { protocol: PROTOCOL, reports, claim: Some(claim(running)) };
            let reply: ReportReply = wire.post(&reports_to, &request).await;
            done.add(count);
            reply.leases.unwrap()
        };
        running += u32::try_from(leases.len()).unwrap();
        for lease in leases {
            let ended = ended.clone();
            tokio::spawn(async move { ended.send(completed(&lease)).unwrap() });
        }
        if running == 0 && done.is_over() {
            return;
        }
    }
}
