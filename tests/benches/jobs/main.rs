//! Jobs through a real coordinator over HTTP, with agents that run nothing: from submission to their end, submitted singly
//! and in batches, beside another job queue (`BullMQ`) on the same Redis; how long a job takes to a parked agent and to one
//! that polls; how many Redis commands a job and an idle agent cost.
#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a bench fails by panicking, and its figures are rounded anyway"
)]

mod bullmq;
mod polling;
mod throughput;

use std::{collections::BTreeMap, time::Instant};

use titan_api::{
    agents::Facts,
    client::Client,
    jobs::{JobKind, ProcessSpec, Requirements, SubmitJob, SubmittedJob},
};
use titan_tests::{
    bench::{cpu_seconds, percentile},
    commands::CommandCounts,
    coordinator::{Coordinator, CoordinatorOptions},
    protocol_agent::ProtocolAgent,
    redis::RedisServer,
};

const JOBS: usize = 10_000;
/// Runs of each kind.
const ROUNDS: usize = 5;
const WAIT_MS: u64 = 5_000;

pub(crate) struct Bench {
    redis: RedisServer,
    coordinator: Coordinator,
    _folder: tempfile::TempDir,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let bench = start("on").await;
    println!("jobs over HTTP, no-op body (Redis, coordinator and this program on the cores of one machine)");
    println!("{:<28} {:>10}", "", "jobs/s");
    compare(&bench).await;
    latency(&bench).await;
    idle(&bench).await;
    drop(bench);
    polling::run(&start("off").await).await;
}

/// Ours and the other queue by turns, since a machine may be faster now than in a moment; what is compared are the medians.
async fn compare(bench: &Bench) {
    let mut rates = [const { Vec::new() }; 4];
    for round in 0..ROUNDS {
        rates[0].push(throughput::run(bench, "single", round, 1, 8).await);
        rates[1].extend(bullmq::run(bench, 1, 8));
        rates[2].push(throughput::run(bench, "batch", round, 64, 64).await);
        rates[3].extend(bullmq::run(bench, 64, 64));
    }
    let [single, their_single, batch, their_batch] = rates.map(|mut of| percentile(&mut of, 50.0));
    println!("median of {ROUNDS}: single {single:.0}, batch {batch:.0}, which is {:.2} of that", batch / single);
    if their_single == 0.0 || their_batch == 0.0 {
        return println!("no comparison with BullMQ: run `scripts/setup.sh --benches` where node and npm are");
    }
    for (what, ours, theirs, least) in [("single", single, their_single, 1), ("batch", batch, their_batch, 2)] {
        let what = format!("BullMQ, {what}");
        println!("{what:<28} {theirs:>10.0}   we do {:.2} of it (to be at least {least})", ours / theirs);
    }
}

async fn start(parking: &str) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "everysec"]).await;
    let options = CoordinatorOptions {
        redis_url: redis.url(),
        admin_token: "admin-token-for-benches".into(),
        settings: [("LOG_LEVEL", "warn"), ("PARKING", parking)].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
    };
    let coordinator = Coordinator::start("coordinator", folder.path(), options).await;
    Bench { redis, coordinator, _folder: folder }
}

impl Bench {
    async fn agent(&self, name: &str) -> ProtocolAgent {
        self.agent_with(name, 64).await
    }

    /// An agent that runs so many jobs at once.
    async fn agent_with(&self, name: &str, max_jobs: u32) -> ProtocolAgent {
        let token = self.coordinator.join_token().await;
        ProtocolAgent::enter(&self.coordinator.anyone(), &token, name, &facts(name, max_jobs)).await
    }

    /// Microseconds of CPU that Redis, the coordinator and this program have used.
    async fn cpu_us(&self) -> [f64; 3] {
        let of = |pid| cpu_seconds(pid).unwrap_or_default() * 1e6;
        [self.redis.cpu_seconds().await * 1e6, of(self.coordinator.pid()), of(std::process::id())]
    }

    /// How many scripts and how many commands in all Redis has run since.
    async fn commands_since(&self, before: &CommandCounts) -> (u64, u64) {
        let counts = self.redis.command_counts().await.since(before);
        let all = counts.0.iter().filter(|(command, _)| *command != "info").map(|(_, c)| c.calls).sum();
        (counts.scripts().calls, all)
    }
}

fn facts(group: &str, max_jobs: u32) -> Facts {
    Facts {
        hostname: "bench".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        cpus: 64,
        ram_mb: 65_536,
        accepts_processes: true,
        max_jobs,
        labels: BTreeMap::from([("group".to_owned(), group.split('-').next().unwrap_or_default().to_owned())]),
        version: "bench".into(),
        ..Facts::default()
    }
}

pub(crate) fn job(group: &str) -> SubmitJob {
    SubmitJob {
        kind: JobKind::Process,
        process: ProcessSpec { command: vec!["true".into()], ..ProcessSpec::default() },
        requirements: Requirements {
            agent_labels: BTreeMap::from([("group".to_owned(), group.to_owned())]),
            ..Requirements::default()
        },
        ..SubmitJob::default()
    }
}

pub(crate) async fn submit(client: &Client, group: &str) {
    let _: SubmittedJob = client.post("/api/v1/jobs", &job(group)).await.unwrap();
}

/// How long it takes from the call that submits a job until a parked agent has its lease.
async fn latency(bench: &Bench) {
    let mut agent = bench.agent("near-0").await;
    let client = bench.coordinator.client().await;
    let (parked, mut to_submit) = tokio::sync::mpsc::channel::<()>(1);
    let (tell_start, mut start_of) = tokio::sync::mpsc::channel::<Instant>(1);
    let submitter = tokio::spawn(async move {
        while to_submit.recv().await.is_some() {
            // The claim is under way; give it the time to be parked.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let _ = tell_start.send(Instant::now()).await;
            submit(&client, "near").await;
        }
    });
    let mut times_ms = Vec::new();
    for _ in 0..300 {
        parked.send(()).await.unwrap();
        let leases = agent.claim(1, WAIT_MS).await;
        times_ms.push(start_of.recv().await.unwrap().elapsed().as_secs_f64() * 1e3);
        agent.complete(&leases).await;
    }
    drop(parked);
    submitter.await.unwrap();
    print_times("submit to a parked agent's lease", &mut times_ms);
}

fn print_times(what: &str, times_ms: &mut [f64]) {
    times_ms.sort_by(f64::total_cmp);
    let at = |percent: usize| times_ms[times_ms.len() * percent / 100];
    println!("{what}: p50 {:.2} ms, p99 {:.2} ms", at(50), at(99));
}

/// Redis commands of an agent that has nothing to do: six heartbeats and three claims of 20 s a minute.
async fn idle(bench: &Bench) {
    let mut agent = bench.agent("idle-0").await;
    let before = bench.redis.command_counts().await;
    for _ in 0..6 {
        agent.beat().await;
    }
    for _ in 0..3 {
        agent.claim(1, 50).await;
    }
    let (scripts, all) = bench.commands_since(&before).await;
    println!("idle agent-minute, parked (9 calls): {scripts} scripts, {all} Redis commands in all");
}
