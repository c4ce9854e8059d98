//! How fast jobs are placed, through the typed wrapper and with the job written: at 10 and at 10,000 agents, with agents
//! that stand in 1, 10 and 32 classes; with one call at a time, with many for a job each, which share runs of the script, and in
//! batches; and how fast heartbeats are taken beside it.
//!
//! A run that several calls share writes each agent once, however many jobs it gets: with 10 agents that is a third of what it
//! is with 10,000, where each job has another. One call at a time writes one agent with either.
//!
//! Redis does the work on one core while this program asks from the other; the figures are what both reach together. What
//! Redis' CPU takes is also told as a multiple of the reference (a script of 20 bare writes, on the same Redis), which
//! can be compared between machines.
#![expect(
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a bench fails by panicking, and its figures are rounded anyway"
)]

use std::{collections::BTreeMap, time::Instant};

use futures_util::{StreamExt, stream};
use titan_api::{
    agents::Measures,
    ids::{AgentId, JobId, PoolName},
};
use titan_lua::{Pool, PoolSettings, agents, jobs};
use titan_tests::{
    bench::{PARALLEL, enter, facts, job, print_reference, reference_us},
    redis::{RedisServer, patient_store},
};

/// Agents are reachable for as long as the bench takes.
const REACHABLE_MS: u64 = 3_600_000;

/// Jobs in a batch: as many as one run of the script takes.
const BATCH: usize = 32;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("placing, jobs a second (Redis and this program on the cores of one machine)");
    println!(
        "{:>8} {:>8} {:>10} {:>14} {:>12} {:>14} {:>10} {:>14} {:>14} {:>10} {:>14}",
        "agents",
        "classes",
        "one call",
        "Redis CPU us",
        "one by one",
        "Redis CPU us",
        "references",
        "in batches",
        "Redis CPU us",
        "references",
        "heartbeats/s"
    );
    let few = run(10, 1).await;
    let many = run(10_000, 1).await;
    run(10_000, 10).await;
    run(10_000, 32).await;
    print_reference(many.reference_us);
    println!(
        "10,000 agents to 10 agents: one by one {:.2} (to be at least 0.7); with one call at a time {:.2}, of Redis' CPU {:.2}",
        many.rate / few.rate,
        many.alone / few.alone,
        few.alone_us / many.alone_us,
    );
}

/// Nobody claims here or beats while jobs are placed, so nothing may be taken back and nobody given up.
fn settings() -> PoolSettings {
    PoolSettings { claim_timeout_ms: REACHABLE_MS, heartbeat_timeout_ms: REACHABLE_MS, ..PoolSettings::default() }
}

/// Jobs a second, one by one; the same with one call at a time, and microseconds of Redis for each; and what the reference took.
struct Placed {
    rate: f64,
    alone: f64,
    alone_us: f64,
    reference_us: f64,
}

async fn run(agents: usize, classes: usize) -> Placed {
    let redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "everysec"]).await;
    let pool = patient_store(&redis.url(), settings()).pool(&PoolName::default());
    make_classes(&pool, classes).await;
    let epochs = enter(&pool, agents, &facts((0..classes).map(label)), REACHABLE_MS).await;
    let ids: Vec<_> = epochs.keys().cloned().collect();
    let reference_us = reference_us(&redis).await;
    let (alone, alone_us) = placings(&redis, &pool, agents, 1, 1).await;
    let (rate, each_us) = placings(&redis, &pool, agents, 1, PARALLEL).await;
    let (batch_rate, batch_each_us) = placings(&redis, &pool, agents, BATCH, PARALLEL.div_ceil(BATCH)).await;
    let begun = Instant::now();
    let beats = 10_000;
    let all = stream::iter(0..beats).map(|i| beat(&pool, &ids[i % ids.len()], &epochs, (i / ids.len() + 1) as u64));
    all.buffer_unordered(PARALLEL).collect::<Vec<_>>().await;
    let heartbeats = beats as f64 / begun.elapsed().as_secs_f64();
    println!(
        "{agents:>8} {classes:>8} {alone:>10.0} {alone_us:>14.1} {rate:>12.0} {each_us:>14.1} {:>10.1} {batch_rate:>14.0} {batch_each_us:>14.1} {:>10.1} {heartbeats:>14.0}",
        each_us / reference_us,
        batch_each_us / reference_us,
    );
    Placed { rate, alone, alone_us, reference_us }
}

/// Places jobs, `at_once` in a call and with so many calls under way, and takes them back: jobs a second, and microseconds of Redis
/// for each.
async fn placings(redis: &RedisServer, pool: &Pool, agents: usize, at_once: usize, calls_at_once: usize) -> (f64, f64) {
    let rounds = if agents < 100 { 10 } else { 1 };
    let in_round = if agents < 100 { agents * 60 } else { 10_000 };
    let (mut spent, mut placed, mut redis_us) = (0.0, 0, 0.0);
    for round in 0..rounds {
        let (before, cpu_before) = (redis.command_counts().await, redis.cpu_seconds().await);
        let names: Vec<_> = (0..in_round)
            .map(|i| JobId::new(format!("job-{at_once}-{calls_at_once}-{round}-{i}")).expect("an id"))
            .collect();
        let calls: Vec<_> = names.chunks(at_once).map(<[_]>::to_vec).collect();
        let begun = Instant::now();
        let calls = stream::iter(calls).map(|ids| place(pool, ids)).buffer_unordered(calls_at_once);
        let bound = calls.collect::<Vec<_>>().await.concat();
        spent += begun.elapsed().as_secs_f64();
        redis_us += (redis.cpu_seconds().await - cpu_before) * 1e6;
        if std::env::var_os("TITAN_BENCH_COMMANDS").is_some() {
            let each = |n: u64| n as f64 / in_round as f64;
            for (command, count) in &redis.command_counts().await.since(&before).0 {
                println!("  {command:<20} {:>6.2} calls {:>6.2} us a job", each(count.calls), each(count.usec));
            }
        }
        assert!(bound.iter().all(|(_, bound)| *bound), "a job was not placed");
        placed += bound.len();
        stream::iter(&bound)
            .for_each_concurrent(32, async |(id, _)| {
                jobs::CancelJob { job: id }.run(pool).await.expect("cancelled");
            })
            .await;
    }
    (placed as f64 / spent, redis_us / placed as f64)
}

/// What makes agents members of a class.
fn label(class: usize) -> String {
    format!("class-{class}")
}

async fn make_classes(pool: &Pool, classes: usize) {
    for class in 0..classes {
        let id = JobId::new(format!("first-of-{class}")).expect("an id");
        jobs::Submit { jobs: &[jobs::NewJob::new(&id, &job(&label(class)))], owner: "bench", explain: false }
            .run(pool)
            .await
            .expect("submitted");
        jobs::CancelJob { job: &id }.run(pool).await.expect("cancelled");
    }
}

/// Submits jobs in one call: all of them, and whether each was bound.
async fn place(pool: &Pool, ids: Vec<JobId>) -> Vec<(JobId, bool)> {
    let spec = job(&label(0));
    let new: Vec<_> = ids.iter().map(|id| jobs::NewJob::new(id, &spec)).collect();
    let submit = jobs::Submit { jobs: &new, owner: "bench", explain: false };
    let jobs::SubmitOutcome::Submitted { jobs, .. } = submit.run(pool).await.expect("submitted") else {
        panic!("not accepted")
    };
    jobs.into_iter().map(|job| (job.id, job.agent.is_some())).collect()
}

async fn beat(pool: &Pool, id: &AgentId, epochs: &BTreeMap<AgentId, i64>, seq: u64) {
    let measures = Measures { ram_free_mb: Some(200_000), rtt_ms: Some(12.0), ..Measures::default() };
    let call = agents::Heartbeat {
        agent: id,
        epoch: epochs[id],
        seq,
        last_claim: 0,
        measures: &measures,
        leases: &[],
        models: None,
        leaving: false,
    };
    call.run(pool).await.expect("heard");
}
