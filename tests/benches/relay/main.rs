//! What the relay adds to a model's backend: the same streamed request to the backend itself and through the coordinator and
//! the agent that ships, by turns in one run, at 1, 32 and 128 streams; how many tokens pass in a second; and how many
//! tickets are issued beside how many signatures such a key makes alone. With `-- tickets` these
//! alone.
//!
//! Backend, agent, coordinator, Redis and clients share the cores of one machine, but where a line says otherwise.
#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench fails by panicking, and its figures are rounded anyway"
)]

mod backend;
mod tickets;
mod way;

use std::{
    env, fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;
use titan_tests::{
    agent::{Agent, AgentOptions},
    bench::cpu_seconds,
    coordinator::{Coordinator, CoordinatorOptions},
    redis::RedisServer,
    wait::eventually,
};

use crate::{
    backend::Plan,
    way::{Starts, Timed, Way},
};

/// Answers that come as models give them, and as fast as they can.
const PACED: Plan = Plan { model: "paced", tokens: 100, pause: Duration::from_millis(10) };
const FAST: Plan = Plan { model: "fast", tokens: 4_000, pause: Duration::ZERO };
/// Answers to be measured for each number of streams, at least, and on each stream: of fewer, the slowest of a hundred would be
/// two or three that found connections unmade.
const ANSWERS: usize = 512;
const ON_EACH: usize = 8;
const FAST_STREAMS: usize = 16;
/// Requests that the agent serves at once.
const PARALLEL: u32 = 256;

struct Bench {
    redis: RedisServer,
    coordinator: Coordinator,
    agent: Agent,
    relayed: Way,
    folder: tempfile::TempDir,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let (paced, fast) = (backend::start(PACED).await, backend::start(FAST).await);
    let mut bench = start(&[&paced, &fast]).await;
    if !env::args().any(|argument| argument == "tickets") {
        bench.streams(paced, fast).await;
    }
    tickets::run(&mut bench).await;
}

async fn start(backends: &[&str]) -> Bench {
    let redis = RedisServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let coordinator = coordinator("c", folder.path(), &redis).await;
    let agent = agent(folder.path(), &coordinator, backends).await;
    let relayed = Way::to(coordinator.url(), Some(coordinator.api_key().await));
    Bench { redis, coordinator, agent, relayed, folder }
}

async fn coordinator(name: &str, folder: &Path, redis: &RedisServer) -> Coordinator {
    let limits = [("LOG_LEVEL", "warn"), ("RATE_LIMIT_REQUESTS", "off"), ("RATE_LIMIT_BYTES", "off")];
    let options = CoordinatorOptions {
        redis_url: redis.url(),
        admin_token: "an-administrator's-token".into(),
        settings: limits.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    };
    Coordinator::start(name, folder, options).await
}

async fn agent(folder: &Path, coordinator: &Coordinator, backends: &[&str]) -> Agent {
    let settings = folder.join("agent.json");
    let backends: Vec<_> =
        backends.iter().map(|url| json!({"kind": "openai", "url": url, "parallel": PARALLEL})).collect();
    fs::write(&settings, json!({ "backend": backends }).to_string()).unwrap();
    let settings = [("TITAN_CONFIG", settings.to_str().unwrap()), ("LOG_LEVEL", "warn")];
    let options = AgentOptions {
        id: "relaying".into(),
        coordinators: vec![coordinator.url()],
        join_token: coordinator.join_token().await,
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    };
    let agent = Agent::start(folder, options);
    let admin = coordinator.admin();
    eventually("the agent's models", async || {
        let fleet: serde_json::Value = admin.get("/v1/models").await.ok()?;
        (fleet["data"].as_array()?.len() == backends.len()).then_some(())
    })
    .await;
    agent
}

impl Bench {
    /// What the relay adds to a stream, and how many tokens pass.
    async fn streams(&mut self, paced: String, fast: String) {
        println!(
            "a streamed chat of {} tokens, one each {} ms: relayed (by the agent that ships, chunked upload) and direct",
            PACED.tokens,
            PACED.pause.as_millis()
        );
        println!(
            "{:<14} {:>24} {:>24} {:>20} {:>8}   a relayed answer takes of CPU, us, and of scripts",
            "streams", "first token +p50 / +p99", "later tokens +p50/+p99", "whole answer p50", "ratio"
        );
        let direct = Way::to(paced, None);
        for streams in [1, 32, 128] {
            self.compare(&direct, streams, Starts::Spread).await;
        }
        for streams in [32, 128] {
            self.compare(&direct, streams, Starts::Together).await;
        }
        println!(
            "to be at most: first token +5 ms p50, +15 ms p99, later tokens +2 ms p50, ratio 1.05, with spread starts"
        );
        self.tokens(&Way::to(fast, None)).await;
    }

    /// Asks the backend itself and through the pool, by turns.
    async fn compare(&mut self, direct: &Way, streams: usize, starts: Starts) {
        let answers = if streams == 1 { 16 } else { ANSWERS.max(ON_EACH * streams) };
        let (mut ours, mut theirs, mut cost) = (Vec::new(), Vec::new(), [0.0; 4]);
        for _ in 0..2 {
            theirs.extend(direct.many(PACED, streams, answers / 2, starts).await);
            let (scripts, cpu) = (self.redis.command_counts().await, self.cpu_us().await);
            ours.extend(self.relayed.many(PACED, streams, answers / 2, starts).await);
            let (now, ran) = (self.cpu_us().await, self.redis.command_counts().await.since(&scripts));
            for (sum, (now, then)) in cost.iter_mut().zip(now.into_iter().zip(cpu)) {
                *sum += (now - then) / answers as f64;
            }
            cost[3] += ran.scripts().calls as f64 / answers as f64;
        }
        let firsts = |all: &[Timed]| percentiles(all.iter().map(|timed| timed.first).collect());
        let gaps = |all: &[Timed]| percentiles(all.iter().flat_map(|timed| timed.gaps.clone()).collect());
        let wholes = |all: &[Timed]| percentiles(all.iter().map(|timed| timed.whole).collect()).0;
        let (first, direct_first, gap, direct_gap) = (firsts(&ours), firsts(&theirs), gaps(&ours), gaps(&theirs));
        let (whole, direct_whole) = (wholes(&ours), wholes(&theirs));
        let [redis, coordinator, agent, scripts] = cost;
        println!(
            "{:<14} {:>10.1} ms /{:>8.1} ms {:>10.2} ms /{:>7.2} ms {:>9.0} / {:>5.0} ms {:>8.3}   \
             Redis {redis:.0}, coordinator {coordinator:.0}, agent {agent:.0}; {scripts:.1}",
            format!("{streams}{}", starts.word()),
            first.0 - direct_first.0,
            first.1 - direct_first.1,
            gap.0 - direct_gap.0,
            gap.1 - direct_gap.1,
            whole,
            direct_whole,
            whole / direct_whole
        );
    }

    /// Microseconds of CPU that Redis, the coordinator and the agent have used.
    async fn cpu_us(&mut self) -> [f64; 3] {
        let of = |pid| cpu_seconds(pid).unwrap_or_default() * 1e6;
        let agent = self.agent.process().pid();
        [self.redis.cpu_seconds().await * 1e6, of(self.coordinator.pid()), of(agent)]
    }

    async fn tokens(&self, direct: &Way) {
        let mut rates = Vec::new();
        for way in [direct, &self.relayed] {
            let began = Instant::now();
            let answers = way.many(FAST, FAST_STREAMS, FAST_STREAMS * 8, Starts::Together).await;
            let tokens: usize = answers.iter().map(|timed| timed.tokens).sum();
            assert_eq!(tokens, FAST_STREAMS * 8 * FAST.tokens);
            rates.push(tokens as f64 / began.elapsed().as_secs_f64());
        }
        println!("as fast as it can, {FAST_STREAMS} streams: {:.0} tokens/s relayed, {:.0} direct", rates[1], rates[0]);
    }
}

/// The median and the 99th percentile, milliseconds.
fn percentiles(mut all: Vec<Duration>) -> (f64, f64) {
    all.sort_unstable();
    let at = |part: f64| all[((all.len() - 1) as f64 * part) as usize].as_secs_f64() * 1_000.0;
    (at(0.5), at(0.99))
}
