//! What an ended job and its output take of Redis' memory, and what an agent takes of its box that has nothing to do.
#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a bench fails by panicking, and its figures are rounded anyway"
)]

use std::{collections::BTreeMap, time::Duration};

use redis::aio::MultiplexedConnection;
use titan_api::{
    ids::{AgentId, JobId, PoolName},
    output::{Encoding, Stream},
    work::{Claim, Happening, HeldLease, Lease, Report},
};
use titan_lua::{Pool, PoolSettings, agents, jobs};
use titan_tests::{
    agent::{Agent, AgentOptions},
    bench::{cpu_seconds, enter, facts, job, resident_bytes},
    coordinator::{Coordinator, CoordinatorOptions},
    redis::{RedisServer, patient_store},
};
use tokio::time::sleep;

const JOBS: usize = 6_400;
const AT_ONCE: usize = 64;
const TOKENS: usize = 1_000;
/// A token as models write them, with its space.
const TOKEN: &str = "word ";
const IDLE_FOR: Duration = Duration::from_secs(30);

struct Bench {
    pool: Pool,
    redis: MultiplexedConnection,
    agent: AgentId,
    epoch: i64,
    claims: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = RedisServer::start().await;
    let pool = patient_store(&server.url(), PoolSettings::default()).pool(&PoolName::default());
    let (agent, epoch) = enter(&pool, 1, &facts(["any".to_owned()]), 3_600_000).await.pop_first().unwrap();
    let mut bench = Bench { redis: server.connection().await, pool, agent, epoch, claims: 1 };
    // The class is made, and the stream of events is as long as it gets.
    bench.run("warm", 2 * JOBS, 0).await;
    let before = bench.memory().await;
    bench.run("plain", JOBS, 0).await;
    let plain = bench.memory().await;
    println!("{:<48} {:>8.2} KiB (to be at most 2)", "an ended job in Redis", (plain - before) / JOBS as f64 / 1_024.0);
    bench.run("output", AT_ONCE, TOKENS).await;
    println!(
        "{:<48} {:>8.2} times their bytes (to be at most 1.2)",
        format!("{TOKENS} tokens of output, one by one"),
        bench.output().await / (AT_ONCE * TOKENS * TOKEN.len()) as f64
    );
    idle_agent().await;
}

impl Bench {
    /// Bytes that Redis uses but for the stream of events, which has a bound of its own.
    async fn memory(&mut self) -> f64 {
        let info: String = redis::cmd("INFO").arg("memory").query_async(&mut self.redis).await.unwrap();
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
        let mut events = redis::cmd("MEMORY");
        events.arg("USAGE").arg("titan:{default}:events").arg("SAMPLES").arg(0);
        let events: Option<u64> = events.query_async(&mut self.redis).await.unwrap();
        used.trim().parse::<f64>().unwrap() - events.unwrap_or_default() as f64
    }

    /// Bytes that Redis uses for output, its keys included.
    async fn output(&mut self) -> f64 {
        let keys: Vec<String> = redis::cmd("KEYS").arg("*:output:*").query_async(&mut self.redis).await.unwrap();
        let mut sum = 0;
        for key in keys {
            let usage: u64 = redis::cmd("MEMORY").arg("USAGE").arg(key).query_async(&mut self.redis).await.unwrap();
            sum += usage;
        }
        sum as f64
    }

    /// Runs jobs to their end, each of which writes so many tokens.
    async fn run(&mut self, what: &str, count: usize, tokens: usize) {
        for from in (0..count).step_by(AT_ONCE) {
            let spec = job("any");
            // As long as the ids that a coordinator makes.
            let ids: Vec<_> =
                (from..from + AT_ONCE).map(|i| JobId::new(format!("{what:x>24}{i:012}")).unwrap()).collect();
            let new: Vec<_> = ids.iter().map(|id| jobs::NewJob::new(id, &spec)).collect();
            jobs::Submit { jobs: &new, owner: "0123456789abcdef", explain: false }.run(&self.pool).await.unwrap();
            self.claims += 1;
            let claim = Claim { claim: self.claims, free_slots: 64, free_requests: 0 };
            let (agent, epoch) = (&self.agent, self.epoch);
            let call = agents::ClaimJobs { agent, epoch, claim, measures: None, reachable_ms: 3_600_000 };
            let agents::ClaimOutcome::Claimed(claimed) = call.run(&self.pool).await.unwrap() else {
                panic!("no claim")
            };
            for token in 0..tokens {
                let data = |lease| written(lease, token);
                self.report(claimed.leases.iter().map(data).collect()).await;
            }
            self.report(claimed.leases.iter().map(completed).collect()).await;
        }
    }

    async fn report(&self, reports: Vec<Report>) {
        let call = agents::ReportBatch { agent: &self.agent, epoch: self.epoch, reports: &reports };
        call.run(&self.pool).await.unwrap();
    }
}

fn held(lease: &Lease) -> HeldLease {
    HeldLease { job_id: lease.job_id.clone(), attempt: lease.attempt, lease_id: lease.lease_id.clone() }
}

fn written(lease: &Lease, token: usize) -> Report {
    let (offset, data) = ((token * TOKEN.len()) as u64, TOKEN.to_owned());
    let event = Happening::Output { offset, stream: Stream::Stdout, data, encoding: Encoding::Utf8 };
    Report::new(held(lease), event)
}

fn completed(lease: &Lease) -> Report {
    Report::new(held(lease), Happening::Completed { result: None, message: None, usage: None })
}

/// A real agent that waits for work.
async fn idle_agent() {
    let folder = tempfile::tempdir().unwrap();
    let redis = RedisServer::start().await;
    let options = CoordinatorOptions {
        redis_url: redis.url(),
        admin_token: "admin-token-for-benches".into(),
        settings: BTreeMap::new(),
    };
    let coordinator = Coordinator::start("coordinator", folder.path(), options).await;
    let options = AgentOptions {
        id: "idle".into(),
        coordinators: vec![coordinator.url()],
        join_token: coordinator.join_token().await,
        settings: BTreeMap::new(),
    };
    let mut agent = Agent::start(folder.path(), options);
    // It joins, measures its box, and comes to rest.
    sleep(IDLE_FOR / 2).await;
    let pid = agent.process().pid();
    let before = cpu_seconds(pid);
    sleep(IDLE_FOR).await;
    let (Some(before), Some(after), Some(bytes)) = (before, cpu_seconds(pid), resident_bytes(pid)) else {
        return println!("what an idle agent takes can't be told here: there is no /proc");
    };
    println!("{:<48} {:>8.1} MiB (to be at most 20)", "an idle agent, resident", bytes as f64 / 1_048_576.0);
    let part = (after - before) / IDLE_FOR.as_secs_f64() * 100.0;
    println!("{:<48} {part:>8.2} % of a core (to be at most 0.5)", "an idle agent, CPU");
}
