//! Jobs a second from the first submission to the last end, with submitters and agents that cost hardly anything.

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
    jobs::{SubmitBatch, SubmittedBatch, SubmittedJob},
    work::{Claim, ClaimReply, ClaimRequest, ReportReply, ReportRequest},
};
use titan_tests::{
    protocol_agent::{ProtocolAgent, completed},
    wire::Wire,
};
use tokio::sync::Notify;

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

/// Runs jobs that are submitted and reported `at_once` in a call, on agents with so many slots.
pub(crate) async fn run(bench: &Bench, group: &'static str, at_once: usize, slots: u32) -> f64 {
    let done = Arc::new(Done::default());
    let mut workers = Vec::new();
    for i in 0..AGENTS {
        let agent = bench.agent_with(&format!("{group}-{i}"), slots).await;
        let wire = Wire::connect(&bench.coordinator.address(), agent.token()).await;
        workers.push(tokio::spawn(work(agent, wire, slots, at_once, Arc::clone(&done))));
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

async fn work(agent: ProtocolAgent, mut wire: Wire, slots: u32, at_once: usize, done: Arc<Done>) {
    let [claim_path, report_path] = ["claim", "report"].map(|verb| format!("/api/v1/agents/{}/{verb}", agent.id));
    for number in 1.. {
        let claim = Claim { claim: number, free_slots: slots, free_requests: 0 };
        let claim = ClaimRequest { protocol: PROTOCOL, claim, measures: None, wait_ms: WAIT_MS };
        let claimed: ClaimReply = wire.post(&claim_path, &claim).await;
        for leases in claimed.leases.chunks(at_once) {
            let reports = ReportRequest { protocol: PROTOCOL, reports: leases.iter().map(completed).collect() };
            let _: ReportReply = wire.post(&report_path, &reports).await;
            done.add(leases.len());
        }
        if done.is_over() {
            return;
        }
    }
}
