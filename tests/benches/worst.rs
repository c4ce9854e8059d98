//! How long a single script holds Redis at most, at 10,000 agents, for what is large in itself: it is all done in slices,
//! and the longest of them is what everybody else has to wait for.
//!
//! Scripts are run one after the other, and each is told by the CPU that Redis' one thread has used meanwhile, so that
//! other programs on the machine do not count, or by what Redis itself says that the command took, if that is less: what the
//! thread did beside it is no script's doing. What it took by the clock at most stands beside that; Redis goes before other
//! programs, where that is allowed.
//!
//! A processor that is shared with other machines stalls now and then, in whatever runs just then, and is slow while its
//! twin is busy. How much that is, the first row tells, and one of the last once more: a script that always does the same,
//! about as much as the others and as often. What its longest run takes beyond its median is the machine's doing.
//! How many commands a script runs at most is told, too, and how many pages of memory it touched for the first time.
//!
//! Redis writes its log anew when told so, at the end, and not by itself: a fork leaves all memory to be copied, page by
//! page, by whoever writes next, which would be counted now and then in one row or another.
#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a bench fails by panicking, and its figures are rounded anyway"
)]

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use titan_api::{
    agents::Measures,
    ids::{AgentId, JobId, PoolName},
    jobs::SubmitJob,
    scheduler::{Profile, Strategy},
    work::{Claim, Happening, HeldLease, Lease, Report},
};
use titan_lua::{Pool, PoolSettings, agents, jobs, pool};
use titan_tests::{
    bench::{
        enter, facts, goes_first, job, main_thread_faults, main_thread_us, percentile, print_reference, reference_us,
        report_and_claim,
    },
    commands::CommandCounts,
    redis::{RedisServer, patient_store},
};

const AGENTS: usize = 10_000;
/// How many agents have all their slots taken when they die.
const BUSY: usize = 16;
const SLOTS: usize = 64;
/// How many jobs of a batch one script accepts.
const OF_A_SCRIPT: usize = 32;
/// The number of each busy agent's claim after those that have filled it.
const FIRST_OF_TURNOVER: u64 = 9;
const DEPENDENTS: usize = 100_000;
/// What no script is to take longer than.
const TO_BE_MS: f64 = 5.0;
/// Bare writes of the script that always does the same, and how often it runs.
const SAME_WRITES: usize = 1_000;
const SAME_RUNS: usize = 5_000;
const REACHABLE_MS: u64 = 3_600_000;
/// Classes whose jobs were passed over, and in each of them jobs that no agent could ever run, and one that some could.
const PASSED_OVER_CLASSES: usize = 64;
const HOPELESS: usize = 2;
/// Rounds in which those are looked at, and what lies between two.
const ROUNDS: i64 = 20;
const ROUND_MS: i64 = 10_000;
/// How long what was set off is worked on at most.
const PATIENCE: Duration = Duration::from_secs(15);

struct Bench {
    pool: Pool,
    server: RedisServer,
    connection: MultiplexedConnection,
    /// The scripts since the last line was printed.
    runs: RefCell<Vec<Run>>,
    epochs: BTreeMap<AgentId, i64>,
    /// How often what full agents run has turned over.
    turns: Cell<u64>,
    now_ms: i64,
}

/// What one script took.
struct Run {
    /// Of the CPU, microseconds.
    cpu_us: f64,
    /// By the clock, microseconds.
    wall_us: f64,
    commands: u64,
    /// Pages of memory that it was the first to touch, or to write to since a fork.
    faults: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let options = ["--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"];
    let server = RedisServer::start_with(&options).await;
    let is_first = goes_first(server.pid());
    let store = patient_store(&server.url(), PoolSettings::default());
    let pool = store.pool(&PoolName::default());
    let mut bench = Bench {
        epochs: populate(&pool).await,
        now_ms: store.now_ms().await.unwrap(),
        runs: RefCell::default(),
        turns: Cell::default(),
        connection: server.connection().await,
        pool,
        server,
    };
    println!("the longest scripts at {AGENTS} agents (to be at most 5 ms of CPU)");
    println!("Redis goes before all else on this machine: {}", if is_first { "yes" } else { "no" });
    print_reference(reference_us(&bench.server).await);
    println!(
        "{:<44} {:>8} {:>9} {:>7} {:>7} {:>10} {:>10} {:>13} {:>9} {:>11}",
        "", "scripts", "median ms", "99 %", "99.9 %", "longest", "over 5 ms", "by the clock", "commands", "page faults"
    );
    bench.always_the_same().await;
    bench.new_class().await;
    bench.batch().await;
    bench.new_weights().await;
    bench.dependents().await;
    let busy = bench.fill().await;
    bench.turnover(&busy, 1, 0).await;
    bench.turnover(&busy, 4, OF_A_SCRIPT).await;
    bench.deregistration(&busy[0].0).await;
    bench.deaths().await;
    bench.passed_over().await;
    bench.always_the_same().await;
    bench.new_log().await;
}

/// Agents in four classes, of which a few alone can take the jobs that fill them, and which could all be in one more.
async fn populate(pool: &Pool) -> BTreeMap<AgentId, i64> {
    let labels = (0..4).map(|class| format!("class-{class}"));
    for (number, label) in labels.clone().enumerate() {
        submit(pool, &[new_id("first", number)], &job(&label)).await;
    }
    let mut epochs = enter(pool, AGENTS, &facts(labels.chain(["new".to_owned()])), REACHABLE_MS).await;
    let busy = facts(["busy".to_owned()]);
    for number in 0..BUSY {
        let id = AgentId::new(format!("busy-{number:02}")).unwrap();
        let call =
            agents::RegisterAgent { agent: &id, public_key: "key", instance_id: "1", facts: &busy, running: &[] };
        let agents::RegisterOutcome::Registered { epoch, .. } = call.run(pool).await.unwrap() else {
            panic!("{id} was turned away")
        };
        epochs.insert(id, epoch);
    }
    epochs
}

impl Bench {
    async fn always_the_same(&self) {
        let script = redis::Script::new(&format!(
            "for i = 1, {SAME_WRITES} do redis.call('HSET', KEYS[1] .. ':' .. i % 100, i, ARGV[1] .. i) end"
        ));
        for _ in 0..SAME_RUNS {
            let mut connection = self.connection.clone();
            self.timed(script.key("same").arg("a value").invoke_async::<()>(&mut connection)).await.unwrap();
        }
        self.print(&format!("always the same: {SAME_WRITES} bare writes"));
    }

    async fn new_class(&self) {
        self.timed(submit(&self.here(), &[new_id("of-a-new-class", 0)], &job("new"))).await;
        self.sweep().await;
        self.print("a new class");
    }

    async fn batch(&self) {
        let ids: Vec<_> = (0..1_000).map(|i| new_id("in-a-batch", i)).collect();
        for ids in ids.chunks(OF_A_SCRIPT) {
            self.timed(submit(&self.here(), ids, &job("class-0"))).await;
        }
        self.print("a batch of 1,000 jobs");
    }

    async fn new_weights(&self) {
        let weights = titan_api::scheduler::Weights { vram: 0.1, load: 0.2, rtt: 0.3, performance: 0.4, cost: 0.0 };
        let call = pool::SetScheduler { profile: Profile::Custom, weights, strategy: Strategy::Score };
        self.timed(call.run(&self.here())).await.unwrap();
        self.sweep().await;
        self.print("new weights");
    }

    async fn dependents(&self) {
        let first = new_id("waited-for", 0);
        let agent = submit(&self.here(), std::slice::from_ref(&first), &job("class-1")).await[0].agent.clone().unwrap();
        let dependent = SubmitJob { depends_on: vec![first.to_string()], ..job("class-1") };
        for batch in 0..DEPENDENTS / 1_000 {
            let ids: Vec<_> = (0..1_000).map(|i| new_id("waiting", batch * 1_000 + i)).collect();
            submit(&self.here(), &ids, &dependent).await;
        }
        self.runs.take();
        let lease = self.claim(&agent, 2).await.into_iter().find(|lease| lease.job_id == first).unwrap();
        let held = HeldLease { job_id: lease.job_id, attempt: lease.attempt, lease_id: lease.lease_id };
        let reports = [Report::new(held, Happening::Completed { result: None, message: None, usage: None })];
        let call = agents::ReportBatch { agent: &agent, epoch: self.epochs[&agent], reports: &reports };
        self.timed(call.run(&self.here())).await.unwrap();
        self.sweep().await;
        self.print(&format!("the end of a job that {DEPENDENTS} wait for"));
    }

    /// Gives a few agents all the jobs that they can take.
    async fn fill(&self) -> Vec<(AgentId, Vec<Lease>)> {
        let ids: Vec<_> = (0..BUSY * SLOTS).map(|i| new_id("busy", i)).collect();
        for ids in ids.chunks(1_000) {
            submit(&self.here(), ids, &job("busy")).await;
        }
        // However slow the machine is: until these agents, the last of all, are known to be of the class.
        while pool::Sweep.run(&self.here()).await.unwrap().more {}
        let mut busy = Vec::new();
        for agent in self.epochs.keys().filter(|id| id.as_str().starts_with("busy")) {
            let mut leases = Vec::new();
            for number in 1..FIRST_OF_TURNOVER {
                leases.extend(self.claim(agent, number).await);
                if leases.len() == SLOTS {
                    break;
                }
            }
            busy.push((agent.clone(), leases));
        }
        self.print("a claim of 64 jobs");
        busy
    }

    /// As many jobs as fit in a run have ended on so many of these agents together, which hold them at `from` and after, and as
    /// many take their place.
    async fn turnover(&self, busy: &[(AgentId, Vec<Lease>)], together: usize, from: usize) {
        let full: Vec<_> = busy.iter().filter(|(_, leases)| leases.len() == SLOTS).collect();
        assert!(full.len() >= together, "{} agents are full", full.len());
        let of_each = OF_A_SCRIPT / together;
        self.turns.set(self.turns.get() + 1);
        for (n, agents) in full.chunks_exact(together).enumerate() {
            let ids: Vec<_> = (0..OF_A_SCRIPT).map(|i| new_id("next", (from + n) * SLOTS + i)).collect();
            submit(&self.here(), &ids, &job("busy")).await;
            let calls = agents.iter().map(|(agent, leases)| self.turn_over(agent, &leases[from..from + of_each]));
            let before = self.counts().await;
            self.timed(join_all(calls)).await;
            assert_eq!(self.counts().await.since(&before).scripts().calls, 1, "they shared no run");
        }
        self.print(&match together {
            1 => "32 reports of ends that claim 32 jobs".to_owned(),
            _ => format!("the same of {together} agents together"),
        });
    }

    /// Reports that these have ended, and claims as many.
    async fn turn_over(&self, agent: &AgentId, leases: &[Lease]) {
        let free_slots = u32::try_from(leases.len()).unwrap();
        let claim = Claim { claim: FIRST_OF_TURNOVER + self.turns.get(), free_slots, free_requests: 0 };
        let next = agents::NextClaim { claim, reachable_ms: REACHABLE_MS };
        let handed = report_and_claim(&self.here(), (agent, self.epochs[agent]), leases, next).await;
        assert_eq!(handed.len(), leases.len());
    }

    async fn deregistration(&self, agent: &AgentId) {
        self.timed(agents::RemoveAgent { agent }.run(&self.here())).await.unwrap();
        self.sweep().await;
        self.print("the deregistration of an agent with 64 jobs");
    }

    /// All agents but one fall silent.
    async fn deaths(&mut self) {
        let (alive, epoch) = self.epochs.first_key_value().map(|(id, epoch)| (id.clone(), *epoch)).unwrap();
        for beat in 1..12 {
            self.now_ms += 10_000;
            let call = agents::Heartbeat {
                agent: &alive,
                epoch,
                seq: beat,
                last_claim: 0,
                measures: &Measures::default(),
                leases: &[],
                models: None,
                leaving: false,
            };
            self.timed(call.run(&self.here())).await.unwrap();
            self.sweep_until(PATIENCE / 11).await;
        }
        self.sweep().await;
        self.print("dead agents, some with 64 jobs each");
    }

    /// Jobs that waited for more than a minute each may hold an agent, and are looked at together.
    async fn passed_over(&self) {
        // Its agents neither wait for work nor fall silent, so that there is nothing else to look at.
        let hour_ms = 3_600_000;
        let settings =
            PoolSettings { heartbeat_interval_ms: hour_ms, heartbeat_timeout_ms: hour_ms, ..PoolSettings::default() };
        let store = patient_store(&self.server.url(), settings);
        let pool = store.pool(&PoolName::new("passed-over").unwrap());
        for class in 0..PASSED_OVER_CLASSES {
            let ids: Vec<_> = (0..=HOPELESS).map(|n| new_id("passed-over", class * 10 + n)).collect();
            let mut spec = job(&format!("class-{class}"));
            spec.priority = i32::try_from(class % 8).unwrap();
            submit(&pool, &ids[HOPELESS..], &spec).await;
            spec.priority += 1;
            spec.requirements.cpus = 1_000.0;
            submit(&pool, &ids[..HOPELESS], &spec).await;
        }
        let ids = (0..AGENTS).map(|n| (n, AgentId::new(format!("agent-{n:05}")).unwrap()));
        for (n, id) in ids {
            let facts = facts([format!("class-{}", n % PASSED_OVER_CLASSES)]);
            let call =
                agents::RegisterAgent { agent: &id, public_key: "key", instance_id: "1", facts: &facts, running: &[] };
            call.run(&pool).await.unwrap();
        }
        let begun_ms = store.now_ms().await.unwrap();
        for round in 0..ROUNDS {
            let pool = pool.at(begun_ms + 60_000 + round * ROUND_MS);
            while self.timed(pool::Sweep.run(&pool)).await.unwrap().more {}
        }
        self.print("jobs that were passed over");
    }

    /// What everything takes longer while the process that Redis has forked to write its log anew has the same memory.
    async fn new_log(&self) {
        redis::cmd("BGREWRITEAOF").exec_async(&mut self.connection.clone()).await.unwrap();
        let ids: Vec<_> = (0..1_000).map(|i| new_id("meanwhile", i)).collect();
        for ids in ids.chunks(OF_A_SCRIPT) {
            self.timed(submit(&self.here(), ids, &job("class-0"))).await;
        }
        self.print("a batch while Redis writes its log anew");
    }

    fn here(&self) -> Pool {
        self.pool.at(self.now_ms)
    }

    async fn claim(&self, agent: &AgentId, number: u64) -> Vec<Lease> {
        let claim = Claim { claim: number, free_slots: 64, free_requests: 0 };
        let call =
            agents::ClaimJobs { agent, epoch: self.epochs[agent], claim, measures: None, reachable_ms: REACHABLE_MS };
        let agents::ClaimOutcome::Claimed(claimed) = self.timed(call.run(&self.here())).await.unwrap() else {
            panic!("{agent} was turned away")
        };
        claimed.leases
    }

    /// Settles what is overdue.
    async fn sweep(&self) {
        self.sweep_until(PATIENCE).await;
    }

    async fn sweep_until(&self, patience: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < patience && self.timed(pool::Sweep.run(&self.here())).await.unwrap().more {}
    }

    /// Runs one script and notes what it took.
    async fn timed<T>(&self, script: impl Future<Output = T>) -> T {
        let counts_before = self.counts().await;
        let pid = self.server.pid();
        let (us_before, faults_before) = (main_thread_us(pid), main_thread_faults(pid));
        let outcome = script.await;
        let us = main_thread_us(pid).zip(us_before).map(|(now, then)| now - then);
        let faults = main_thread_faults(pid).zip(faults_before).map(|(now, then)| now - then);
        let mut counts = self.counts().await.since(&counts_before);
        // One that Redis does not know yet, and has to make sense of once, does not count.
        let wall_us = counts.scripts().usec as f64;
        counts.0.retain(|command, _| !["fcall", "evalsha"].contains(&command.as_str()));
        counts.0.remove("info");
        let commands = counts.0.values().map(|count| count.calls).sum();
        let cpu_us = us.unwrap_or(wall_us).min(wall_us);
        self.runs.borrow_mut().push(Run { cpu_us, wall_us, commands, faults: faults.unwrap_or_default() });
        outcome
    }

    /// How many commands Redis has run, and what it says that they took.
    async fn counts(&self) -> CommandCounts {
        CommandCounts::read(&mut self.connection.clone()).await
    }

    /// Says what the scripts took since the last line, and forgets it.
    fn print(&self, what: &str) {
        let runs = self.runs.take();
        let mut times: Vec<_> = runs.iter().map(|run| run.cpu_us / 1e3).collect();
        let [half, most, nearly_all, longest] =
            [50.0, 99.0, 99.9, 100.0].map(|percent| percentile(&mut times, percent));
        let over = times.iter().filter(|ms| **ms > TO_BE_MS).count();
        let wall = runs.iter().map(|run| run.wall_us / 1e3).fold(0.0, f64::max);
        let commands = runs.iter().map(|run| run.commands).max().unwrap_or_default();
        let faults = runs.iter().map(|run| run.faults).max().unwrap_or_default();
        println!(
            "{what:<44} {:>8} {half:>9.2} {most:>7.2} {nearly_all:>7.2} {longest:>10.2} {over:>10} {wall:>13.2} {commands:>9} {faults:>11}",
            runs.len()
        );
    }
}

fn new_id(what: &str, number: usize) -> JobId {
    JobId::new(format!("{what}-{number}")).unwrap()
}

async fn submit(pool: &Pool, ids: &[JobId], spec: &SubmitJob) -> Vec<jobs::Submitted> {
    let new: Vec<_> = ids.iter().map(|id| jobs::NewJob::new(id, spec)).collect();
    let submit = jobs::Submit { jobs: &new, owner: "bench", explain: false };
    let jobs::SubmitOutcome::Submitted { jobs, .. } = submit.run(pool).await.unwrap() else { panic!("not accepted") };
    jobs
}
