//! The same where nobody parks (`PARKING=off`): one call brings reports, heartbeat and claim.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use titan_api::jobs::JobList;
use titan_tests::protocol_agent::ProtocolAgent;

use crate::{Bench, print_times, submit};

const AGENTS: usize = 20;
const JOBS: usize = 300;
/// Submissions come at this distance, so that they fall at all moments between two polls.
const APART: Duration = Duration::from_millis(41);

/// When the jobs of one agent were submitted that it does not have yet, oldest first.
type Begun = Arc<Mutex<VecDeque<Instant>>>;

pub(crate) async fn run(bench: &Bench) {
    // Before any client has called in the pool.
    idle(bench, "idle-0", "idle agent-minute, polling a pool that nobody uses").await;
    latency(bench).await;
    idle(bench, "idle-1", "idle agent-minute, polling a pool in use").await;
}

/// Redis commands of an agent that has nothing to do, at the pace that the coordinator asks for.
async fn idle(bench: &Bench, agent: &str, what: &str) {
    let mut agent = bench.agent(agent).await;
    let pause = agent.poll(1, &[]).await.pause;
    let pause_ms = pause.as_millis().max(1);
    let polls = (60_000 + pause_ms / 2) / pause_ms;
    let before = bench.redis.command_counts().await;
    for _ in 0..polls {
        agent.poll(1, &[]).await;
    }
    let (scripts, all) = bench.commands_since(&before).await;
    println!("{what} ({polls} calls): {scripts} scripts, {all} Redis commands in all");
}

/// How long it takes from the call that submits a job until an agent that polls has its lease.
async fn latency(bench: &Bench) {
    let client = bench.coordinator.client().await;
    // From now on the pool is in use, and agents are asked to call each second.
    let _: JobList = client.get("/api/v1/jobs").await.unwrap();
    let (times_ms, taken) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let mut agents = Vec::new();
    let mut submitted = Vec::new();
    for number in 0..AGENTS {
        let agent = bench.agent(&format!("poll{number}-0")).await;
        let begun = Begun::default();
        submitted.push(Arc::clone(&begun));
        agents.push(tokio::spawn(poll_until_done(agent, begun, Arc::clone(&times_ms), Arc::clone(&taken))));
    }
    for job in 0..JOBS {
        tokio::time::sleep(APART).await;
        let number = job % AGENTS;
        submitted[number].lock().unwrap().push_back(Instant::now());
        submit(&client, &format!("poll{number}")).await;
    }
    for agent in agents {
        agent.await.unwrap();
    }
    print_times("submit to the lease of an agent that polls a pool in use", &mut times_ms.lock().unwrap());
}

async fn poll_until_done(
    mut agent: ProtocolAgent,
    submitted: Begun,
    times_ms: Arc<Mutex<Vec<f64>>>,
    taken: Arc<AtomicUsize>,
) {
    let mut done = Vec::new();
    while taken.load(Ordering::Relaxed) < JOBS {
        let polled = agent.poll(4, &done).await;
        for _ in &polled.leases {
            let begun = submitted.lock().unwrap().pop_front().unwrap();
            times_ms.lock().unwrap().push(begun.elapsed().as_secs_f64() * 1e3);
            taken.fetch_add(1, Ordering::Relaxed);
        }
        done = polled.leases;
        tokio::time::sleep(polled.pause).await;
    }
}
