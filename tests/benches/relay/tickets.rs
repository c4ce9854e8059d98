//! Tickets: issued alone, beside how many signatures such a key makes on the same cores, once with Redis and the clients on these
//! cores too and once with the coordinator alone on one; and issued, used and ended.
//!
//! Those that are issued alone are so as in a pool that has been at work for a while: the same keys ask on the same connections,
//! round after round, and what they were given is ended after each round, out of the time. What the first round takes, in which
//! nothing is known of any key, is said beside.
//!
//! The speed of a machine that is shared with others moves from second to second, so signing and issuing are measured by turns, and
//! of the rounds the one in the middle is told.

use std::{
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::RSA_PKCS1_SHA256,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use titan_api::{
    inference::UsedTicket,
    work::{Happening, HeldLease},
};
use titan_tests::{
    bench::{cores, cpu_seconds, hold_this_thread_to, hold_to},
    coordinator::Coordinator,
    protocol_agent::ProtocolAgent,
    relaying_agent::facts,
    wire::Wire,
};
use tokio::{task::JoinHandle, time::sleep};

use crate::{Bench, coordinator, percentiles};

/// Tickets that are used and ended as well.
const WHOLE: usize = 2_000;
/// Calls under way at once, on a connection each and with a key each: as many as keep every core at work.
const CALLS: usize = 64;
/// Rounds in which each of them is given as many tickets as its key may have.
const ROUNDS: usize = 9;
/// Tickets that are issued one after the other, which says how long one takes.
const SINGLY: usize = 160;
/// Calls on each connection that ask for nothing.
const IDLE: usize = 250;
/// Unused tickets that a key may have.
const OF_A_KEY: usize = 16;
/// Each has 256 places, and a place is kept for every ticket that is not used.
const AGENTS: usize = 20;
const SIGNING_FOR: Duration = Duration::from_millis(400);

/// Agents that nobody calls, and the tasks in which they wait for work.
struct Crowd {
    agents: Vec<(ProtocolAgent, JoinHandle<()>)>,
}

pub(crate) async fn run(bench: &mut Bench) {
    let crowd = Crowd::enter(&bench.coordinator).await;
    singly(bench).await;
    let share = together(bench).await;
    apart(bench).await;
    crowd.whole(&bench.coordinator).await;
    for (_, waiting) in crowd.agents {
        waiting.abort();
    }
    // It takes so long that the agents would be missed.
    match times_openssl(&cores()) {
        Some(times) => println!(
            "the library signs {times:.2} times as fast as `openssl speed rsa2048`: of that the tickets on the same cores are {:.2}",
            share * times
        ),
        None => println!("tickets beside `openssl speed rsa2048`: not measured, since there is no openssl"),
    }
}

impl Crowd {
    async fn enter(coordinator: &Coordinator) -> Self {
        let mut facts = facts("ticketed");
        facts.endpoint = Some("http://127.0.0.1:1".to_owned());
        let token = coordinator.join_token().await;
        let mut agents = Vec::new();
        for number in 0..AGENTS {
            let name = format!("ticketed-{number}");
            let mut agent = ProtocolAgent::enter(&coordinator.anyone(), &token, &name, &facts).await;
            let speaking = agent.clone();
            let waiting = tokio::spawn(async move {
                loop {
                    agent.claim_requests(256, 10_000).await;
                }
            });
            agents.push((speaking, waiting));
        }
        sleep(Duration::from_millis(500)).await;
        Self { agents }
    }

    /// Issued, used by the agent, and ended.
    async fn whole(&self, coordinator: &Coordinator) {
        let keys = join_all((0..CALLS).map(|_| coordinator.api_key())).await;
        let (next, began) = (&AtomicUsize::new(0), Instant::now());
        let calling = keys.iter().map(|key| async move {
            let mut wire = Wire::connect(&coordinator.address(), key).await;
            while next.fetch_add(1, Ordering::Relaxed) < WHOLE {
                let (id, agent) = issue(&mut wire).await;
                let (agent, _) = self.agents.iter().find(|(known, _)| known.id.as_str() == agent).unwrap();
                let speaker = agent.speaker();
                let path = format!("/api/v1/agents/{}/tickets/{id}/use", agent.id);
                let used: UsedTicket = speaker.client.post(&path, &json!({})).await.unwrap();
                let held = HeldLease { job_id: id.parse().unwrap(), attempt: used.attempt, lease_id: used.lease_id };
                speaker.report(&held, Happening::Completed { result: None, message: None, usage: None }).await;
            }
        });
        join_all(calling).await;
        println!("tickets issued, used and ended: {:.0}/s", WHOLE as f64 / began.elapsed().as_secs_f64());
    }
}

/// Microseconds of CPU that Redis, a coordinator and this program have used.
async fn cpu_us(bench: &Bench, coordinator: &Coordinator) -> [f64; 3] {
    let of = |pid| cpu_seconds(pid).unwrap_or_default() * 1e6;
    [bench.redis.cpu_seconds().await * 1e6, of(coordinator.pid()), of(std::process::id())]
}

/// The same for each of so many calls, since then.
async fn each(bench: &Bench, coordinator: &Coordinator, before: [f64; 3], calls: usize) -> [f64; 3] {
    let now = cpu_us(bench, coordinator).await;
    std::array::from_fn(|i| (now[i] - before[i]) / calls as f64)
}

/// Issued with all on the same cores; their share of the signatures.
async fn together(bench: &Bench) -> f64 {
    let idle = idle_call_us(bench).await;
    let [first, Issued { rate, share, cpu: [redis, coordinator, own], signature, of_a_run }] =
        alone(bench, &bench.coordinator, &cores()).await;
    println!(
        "tickets issued while Redis and this program work on the same cores: {rate:.0}/s, which is {share:.2} of the RSA-2048 \
         signatures of these cores (to be at least 0.8)\n  CPU of each, us: coordinator {coordinator:.0}, Redis {redis:.0}, this program {own:.0}; a \
         signature takes {signature:.0}, which is {:.2} of all; a call that does nothing takes {idle:.0}; {of_a_run:.1} tickets \
         to a run of a script\n  the first of each key: {:.0}/s; coordinator {:.0}, Redis {:.0}",
        signature / (redis + coordinator + own),
        first.rate,
        first.cpu[1],
        first.cpu[0],
    );
    share
}

/// Issued by a coordinator that has a core to itself, and no other. One that is started so makes as few threads as it has cores.
async fn apart(bench: &mut Bench) {
    let all = cores();
    let (core, others) = all.split_at(1);
    if others.is_empty() {
        return println!(
            "tickets issued by a coordinator on a core of its own: not measured, since there is no other core"
        );
    }
    let own = std::process::id();
    let beside = [own, bench.redis.pid(), bench.coordinator.pid(), bench.agent.process().pid()];
    hold_to(core, own);
    let coordinator = coordinator("alone", bench.folder.path(), &bench.redis).await;
    for pid in beside {
        hold_to(others, pid);
    }
    let [_, Issued { rate, share, cpu: [_, each, _], signature, .. }] = alone(bench, &coordinator, core).await;
    println!(
        "tickets issued by a coordinator on a core of its own, Redis and this program on others: {rate:.0}/s, which is \
         {share:.2} of the RSA-2048 signatures of that core\n  CPU of each, us: coordinator {each:.0}; a signature takes \
         {signature:.0}, which is {:.2} of it",
        signature / each
    );
    for pid in beside {
        hold_to(&all, pid);
    }
}

/// What came of issuing tickets: how many in a second, their share of the signatures that the coordinator's cores make alone,
/// microseconds of CPU for each and for a signature, and tickets to a run of a script.
struct Issued {
    rate: f64,
    share: f64,
    cpu: [f64; 3],
    signature: f64,
    of_a_run: f64,
}

/// Issues tickets by a coordinator that has these cores, and ends them when the time is over; what came of the first round, and of
/// the one in the middle of those behind it.
async fn alone(bench: &Bench, coordinator: &Coordinator, cores: &[usize]) -> [Issued; 2] {
    let keys = join_all((0..CALLS).map(|_| coordinator.api_key())).await;
    let address = coordinator.address();
    let mut wires = join_all(keys.iter().map(|key| Wire::connect(&address, key))).await;
    let first = round(bench, coordinator, &mut wires, cores).await;
    let mut others = Vec::new();
    for _ in 0..ROUNDS {
        others.push(round(bench, coordinator, &mut wires, cores).await);
    }
    others.sort_by(|one, other| one.share.total_cmp(&other.share));
    [first, others.swap_remove(ROUNDS / 2)]
}

/// Signs for a while before and behind.
async fn round(bench: &Bench, coordinator: &Coordinator, wires: &mut [Wire], cores: &[usize]) -> Issued {
    let before = signatures(cores);
    let (cpu, scripts, began) = (cpu_us(bench, coordinator).await, bench.redis.command_counts().await, Instant::now());
    let ids = join_all(wires.iter_mut().map(all_of_a_key)).await;
    let seconds = began.elapsed().as_secs_f64();
    let cpu = each(bench, coordinator, cpu, CALLS * OF_A_KEY).await;
    let runs = bench.redis.command_counts().await.since(&scripts).scripts().calls;
    let behind = signatures(cores);
    join_all(wires.iter_mut().zip(&ids).map(|(wire, ids)| end(wire, ids))).await;
    let issued = (CALLS * OF_A_KEY) as f64;
    Issued {
        rate: issued / seconds,
        share: issued / seconds / f64::midpoint(before.0, behind.0),
        cpu,
        signature: f64::midpoint(before.1, behind.1),
        of_a_run: issued / runs as f64,
    }
}

/// As many as a key may have, one after the other.
async fn all_of_a_key(wire: &mut Wire) -> Vec<String> {
    let mut ids = Vec::with_capacity(OF_A_KEY);
    for _ in 0..OF_A_KEY {
        ids.push(issue(wire).await.0);
    }
    ids
}

async fn end(wire: &mut Wire, ids: &[String]) {
    for id in ids {
        let ended: Value = wire.post(&format!("/api/v1/jobs/{id}/cancel"), &json!({})).await;
        assert_eq!(ended["state"], "cancelled", "{ended}");
    }
}

/// One call under way at a time, and how long it takes.
async fn singly(bench: &Bench) {
    let mut wire = Wire::connect(&bench.coordinator.address(), "").await;
    let mut took = Vec::new();
    for _ in 0..SINGLY.div_ceil(OF_A_KEY) {
        wire.bearer(&bench.coordinator.api_key().await);
        for _ in 0..OF_A_KEY {
            let began = Instant::now();
            issue(&mut wire).await;
            took.push(began.elapsed());
        }
    }
    let (p50, p99) = percentiles(took);
    println!("a ticket with no other call under way: {p50:.2} ms p50, {p99:.2} ms p99");
}

/// Microseconds of CPU, of the coordinator and of this program, that a call takes which asks for nothing.
async fn idle_call_us(bench: &Bench) -> f64 {
    let before = cpu_us(bench, &bench.coordinator).await;
    let calling = (0..CALLS).map(|_| async {
        let mut wire = Wire::connect(&bench.coordinator.address(), "").await;
        for _ in 0..IDLE {
            let _: Value = wire.get("/api/v1/health").await;
        }
    });
    join_all(calling).await;
    let [_, coordinator, own] = each(bench, &bench.coordinator, before, CALLS * IDLE).await;
    coordinator + own
}

/// The ticket's id, and the agent that it is for.
async fn issue(wire: &mut Wire) -> (String, String) {
    let wish = json!({"client_id": "bench", "model": "ticketed"});
    let routed: Value = wire.post("/api/v1/inference/request", &wish).await;
    assert_eq!(routed["mode"], "direct", "{routed}");
    let text = |name: &str| routed[name].as_str().unwrap().to_owned();
    (text("request_id"), text("agent_id"))
}

/// How many times as fast as `openssl speed` the library signs on these cores, of three turns the one in the middle.
fn times_openssl(cores: &[usize]) -> Option<f64> {
    let turn = |_| Some(signatures(cores).0 / openssl(cores.len())?);
    let mut times = (0..3).map(turn).collect::<Option<Vec<_>>>()?;
    times.sort_by(f64::total_cmp);
    times.get(1).copied()
}

/// Signatures a second that so many processes of `openssl speed` make.
fn openssl(processes: usize) -> Option<f64> {
    let (speed, processes) = (["speed", "-seconds", "1", "-multi"], processes.to_string());
    let told = Command::new("openssl").args(speed).args([&processes, "rsa2048"]).output().ok()?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    // "rsa 2048 bits", seconds for each kind of work, of which signing is the first, and then how many of each a second.
    let figures: Vec<_> = told.lines().last()?.split("bits").nth(1)?.split_whitespace().collect();
    figures.get(figures.len() / 2)?.parse().ok()
}

/// Signatures a second that these cores make with the library that the coordinator signs with, a thread on each, and microseconds of
/// CPU that one takes.
fn signatures(cores: &[usize]) -> (f64, f64) {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let sign = |core| {
        hold_this_thread_to(core);
        let (random, began, mut made) = (SystemRandom::new(), Instant::now(), 0);
        let mut signature = vec![0; key.public_modulus_len()];
        while began.elapsed() < SIGNING_FOR {
            key.sign(&RSA_PKCS1_SHA256, &random, b"as long as a ticket is, about", &mut signature).unwrap();
            made += 1;
        }
        f64::from(made)
    };
    let cpu = || cpu_seconds(std::process::id()).unwrap_or_default() * 1e6;
    let before = cpu();
    let made: f64 = thread::scope(|scope| {
        let signing: Vec<_> = cores.iter().map(|core| scope.spawn(|| sign(*core))).collect();
        signing.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    (made / SIGNING_FOR.as_secs_f64(), (cpu() - before) / made)
}
