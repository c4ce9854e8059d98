//! Ten thousand agents on one real coordinator, over real sockets: what their heartbeats cost, what each costs that waits
//! for work, how soon a job reaches one of them, and how soon all are back after a crash of the coordinator.
#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a bench fails by panicking, and its figures are rounded anyway"
)]

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use titan_api::{client::Client, ids::JobId, jobs::SubmittedJob};
use titan_tests::{
    bench::{cpu_seconds, facts, job, open_files, percentile, resident_bytes},
    coordinator::{Coordinator, CoordinatorOptions},
    protocol_agent::ProtocolAgent,
    redis::RedisServer,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{interval, sleep, timeout},
};

const AGENTS: usize = 10_000;
/// Agents that one join token lets in, with some to spare.
const OF_A_TOKEN: usize = 900;
const CLASSES: usize = 4;
/// Calls under way at once while agents enter.
const ENTERING: usize = 32;
const BEAT_EVERY: Duration = Duration::from_secs(10);
const BEATS_OF_AN_AGENT: usize = 2;
/// As long as an agent may wait in one call.
const WAIT_MS: u64 = 20_000;
/// How long until the last agent waits, too.
const SETTLING: Duration = Duration::from_secs(5);
const JOBS: usize = 300;
/// Jobs come at this distance, so that they do not wait for each other.
const APART: Duration = Duration::from_millis(40);

struct Bench {
    redis: RedisServer,
    coordinator: Coordinator,
    pid: u32,
    client: Client,
    _folder: tempfile::TempDir,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // A connection is a file of this program and one of the coordinator's; each has some others.
    let count = AGENTS.min(usize::try_from(open_files()).unwrap().saturating_sub(1_000));
    println!("{count} agents on one coordinator (Redis, coordinator and this program on the cores of one machine)");
    if count < AGENTS {
        println!("  fewer than {AGENTS}, since so few open files are allowed here (ulimit -Hn)");
    }
    let mut bench = start().await;
    bench.make_classes().await;
    let begun = Instant::now();
    let agents = bench.enter(count).await;
    println!("{:<56} {:>8.0} a second", "agents that join and register", count as f64 / begun.elapsed().as_secs_f64());
    let agents = bench.heartbeats(agents).await;
    let mut crowd = bench.parked(agents).await;
    bench.comes_back(&mut crowd).await;
}

async fn start() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "everysec"]).await;
    let limits = [("RATE_LIMIT_REQUESTS", "1000000000/1m"), ("LOG_LEVEL", "warn"), ("HEARTBEAT_TIMEOUT", "10m")];
    let options = CoordinatorOptions {
        redis_url: redis.url(),
        admin_token: "admin-token-for-benches".into(),
        settings: limits.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    };
    let coordinator = Coordinator::start("coordinator", folder.path(), options).await;
    let (pid, client) = (coordinator.pid(), coordinator.client().await);
    Bench { redis, coordinator, pid, client, _folder: folder }
}

/// Agents that work, each in a task.
struct Crowd {
    count: usize,
    tasks: JoinSet<()>,
}

/// What makes agents members of a class.
fn label(class: usize) -> String {
    format!("class-{class}")
}

async fn submit(client: &Client, label: &str) -> JobId {
    let submitted: SubmittedJob = client.post("/api/v1/jobs", &job(label)).await.unwrap();
    submitted.id
}

impl Bench {
    /// Lets agents in that stand in several classes.
    async fn enter(&self, count: usize) -> Vec<ProtocolAgent> {
        let mut tokens = Vec::new();
        for _ in 0..count.div_ceil(OF_A_TOKEN) {
            tokens.push(self.coordinator.join_token().await);
        }
        let (anyone, facts) = (self.coordinator.anyone(), facts((0..CLASSES).map(label)));
        let (anyone, facts, tokens) = (&anyone, &facts, &tokens);
        let entering = stream::iter(0..count).map(|i| async move {
            ProtocolAgent::enter(anyone, &tokens[i / OF_A_TOKEN], &format!("agent-{i:05}"), facts).await
        });
        entering.buffer_unordered(ENTERING).collect().await
    }

    /// Makes the classes while there are no agents.
    async fn make_classes(&self) {
        for class in 0..CLASSES {
            let id = submit(&self.client, &label(class)).await;
            let path = format!("/api/v1/jobs/{id}/cancel");
            let _: serde_json::Value = self.client.post(&path, &serde_json::json!({})).await.unwrap();
        }
    }

    /// Every agent beats once in ten seconds, spread evenly.
    async fn heartbeats(&self, mut agents: Vec<ProtocolAgent>) -> Vec<ProtocolAgent> {
        let beats = agents.len() * BEATS_OF_AN_AGENT;
        let mut tick = interval(BEAT_EVERY / u32::try_from(agents.len()).unwrap());
        let (of_coordinator, of_redis) = (cpu_seconds(self.pid), self.redis.cpu_seconds().await);
        let begun = Instant::now();
        let (done, mut back) = mpsc::unbounded_channel();
        for agent in agents.drain(..) {
            done.send(agent).unwrap();
        }
        for _ in 0..beats {
            tick.tick().await;
            let (mut agent, done) = (back.recv().await.unwrap(), done.clone());
            tokio::spawn(async move {
                agent.beat().await;
                let _ = done.send(agent);
            });
        }
        drop(done);
        while let Some(agent) = back.recv().await {
            agents.push(agent);
        }
        let seconds = begun.elapsed().as_secs_f64();
        let part = |now: Option<f64>, then: Option<f64>| (now.unwrap_or_default() - then.unwrap_or_default()) / seconds;
        let coordinator = part(cpu_seconds(self.pid), of_coordinator);
        let redis = part(Some(self.redis.cpu_seconds().await), Some(of_redis));
        println!(
            "{:<56} {:>8.2} of a core (to be at most 0.5): coordinator {coordinator:.2}, Redis {redis:.2}",
            format!("heartbeats, {:.0} a second", beats as f64 / seconds),
            coordinator + redis
        );
        agents
    }

    /// All agents wait for work, and jobs come.
    async fn parked(&self, agents: Vec<ProtocolAgent>) -> Crowd {
        let (count, before) = (agents.len(), resident_bytes(self.pid));
        let (arrived, mut arrivals) = mpsc::unbounded_channel();
        let mut crowd = Crowd { count, tasks: JoinSet::new() };
        // They begin to wait one after the other over the time of a wait, as agents do that did not all start at once.
        let mut tick = interval(Duration::from_millis(WAIT_MS) / u32::try_from(count).unwrap());
        for agent in agents {
            tick.tick().await;
            let arrived = arrived.clone();
            crowd.tasks.spawn(agent.work(WAIT_MS, move || {
                let _ = arrived.send(Instant::now());
            }));
        }
        sleep(SETTLING).await;
        let grown = resident_bytes(self.pid).unwrap_or_default().saturating_sub(before.unwrap_or_default());
        println!(
            "{:<56} {:>8.1} KiB each (to be at most 10)",
            "memory of a parked claim and its connection",
            grown as f64 / count as f64 / 1_024.0
        );
        let mut times_ms = Vec::new();
        for number in 0..JOBS {
            sleep(APART).await;
            let begun = Instant::now();
            submit(&self.client, &label(number % CLASSES)).await;
            let arrived: Instant = timeout(Duration::from_secs(20), arrivals.recv()).await.unwrap().unwrap();
            times_ms.push((arrived - begun).as_secs_f64() * 1e3);
        }
        let (half, most) = (percentile(&mut times_ms, 50.0), percentile(&mut times_ms, 99.0));
        println!(
            "{:<56} {half:>8.2} ms p50 (to be at most 5), {most:.2} ms p99",
            format!("submit to the lease of one of {count} parked agents")
        );
        crowd
    }

    /// The coordinator crashes and is started again, and all agents come back.
    async fn comes_back(&mut self, crowd: &mut Crowd) {
        let begun = Instant::now();
        self.coordinator.kill();
        self.coordinator.restart().await;
        let started = begun.elapsed();
        let (mut times_ms, mut refused) = (Vec::new(), 0);
        // A few have just been answered, and are about to ask again.
        while self.coordinator.waiting().await.unwrap_or_default() < crowd.count * 99 / 100 {
            let called = Instant::now();
            match self.client.post::<_, SubmittedJob>("/api/v1/jobs", &job(&label(0))).await {
                Ok(_) => times_ms.push(called.elapsed().as_secs_f64() * 1e3),
                Err(error) if error.is_transient() => refused += 1,
                Err(error) => panic!("{error}"),
            }
            sleep(APART).await;
        }
        assert!(crowd.tasks.try_join_next().is_none(), "an agent has given up");
        let calls = times_ms.len();
        println!(
            "{:<56} {:>8.2} s, {:.2} of it until it answered\n  meanwhile: {calls} jobs submitted, {:.0} ms p50, {:.0} ms the \
             longest; {refused} refused",
            format!("until all {} wait again after a crash of the coordinator", crowd.count),
            begun.elapsed().as_secs_f64(),
            started.as_secs_f64(),
            percentile(&mut times_ms, 50.0),
            percentile(&mut times_ms, 100.0),
        );
    }
}
