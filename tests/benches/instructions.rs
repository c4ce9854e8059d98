//! How many instructions and commands of Redis a job or a ticket takes, through the typed wrapper: what is the same in every run
//! and on every machine of its kind, so that a change of one per cent shows. Calls come one after the other, but where a row says
//! that they come together.
#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a bench fails by panicking, and its figures are rounded anyway"
)]

use std::collections::BTreeMap;

use futures_util::future::join_all;
use titan_api::{
    agents::Facts,
    ids::{AgentId, JobId, PoolName},
    inference::{InferenceRoute, InferenceSpec},
    jobs::{JobKind, SubmitJob},
    work::{Claim, Lease},
};
use titan_lua::{
    Pool, PoolSettings, agents, jobs,
    tickets::{Issue, IssueOutcome},
};
use titan_tests::{
    bench::{enter, facts, job, report_and_claim},
    redis::{RedisServer, patient_store},
    relaying_agent,
};

const REACHABLE_MS: u64 = 3_600_000;
const LABEL: &str = "here";
const AGENTS: usize = 4;
/// Jobs in a round, in batches and singly.
const BATCH: usize = 64;
const SINGLY: usize = 8;
/// As many jobs as a claim brings.
const OF_A_CLAIM: usize = 32;
/// Rounds that are not counted, since tables still grow, and rounds that are.
const FIRST: usize = 10;
const ROUNDS: usize = 20;

/// Agents that serve a model, and how many tickets they are asked for in all, of which the first half is not counted.
const SERVING: usize = 20;
const TICKETS: usize = 640;

/// What is counted.
enum Row {
    /// Jobs from submission to their end: so many are submitted in a call, and so many end before more come.
    Ended { at_once: usize, ended_at_once: usize },
    /// The same of jobs that are submitted one by one, where all agents report at the same time.
    EndedTogether { ended_at_once: usize },
    /// Tickets that are asked for at the same time, each by a key of its own, and stay.
    Issued { at_once: usize },
    /// Jobs that are submitted one to a call, so many calls at the same time, bound, and stay.
    Placed { agents: usize, together: usize },
}

const ROWS: &[(&str, Row)] = &[
    ("submitted and ended in batches of 64", Row::Ended { at_once: BATCH, ended_at_once: BATCH }),
    ("submitted singly, ended by the eight", Row::Ended { at_once: 1, ended_at_once: SINGLY }),
    ("submitted singly, ended by four times eight", Row::EndedTogether { ended_at_once: SINGLY }),
    ("submitted and ended singly", Row::Ended { at_once: 1, ended_at_once: 1 }),
    ("tickets, sixteen at a time", Row::Issued { at_once: 16 }),
    ("placed singly, 10 agents", Row::Placed { agents: 10, together: 1 }),
    ("placed singly, 500 agents", Row::Placed { agents: 500, together: 1 }),
    ("placed 32 together, 10 agents", Row::Placed { agents: 10, together: 32 }),
    ("placed 32 together, 500 agents", Row::Placed { agents: 500, together: 32 }),
];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if !RedisServer::can_be_counted() {
        return println!("instructions of Redis: not counted, for that valgrind is needed");
    }
    // As `cargo bench` is told it: only rows that have this in their name.
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let rows: Vec<_> = ROWS.iter().filter(|(what, _)| what.contains(&wanted)).collect();
    if rows.is_empty() {
        let names: Vec<_> = ROWS.iter().map(|(what, _)| *what).collect();
        return println!("no row has \"{wanted}\" in its name; there are: {}", names.join(", "));
    }
    println!("{:<44} {:>14} {:>10}", "Redis, each job", "instructions", "commands");
    for (what, row) in rows {
        match *row {
            Row::Ended { at_once, ended_at_once } => rounds(what, at_once, ended_at_once, 1).await,
            Row::EndedTogether { ended_at_once } => rounds(what, 1, ended_at_once, AGENTS).await,
            Row::Issued { at_once } => issued(what, at_once).await,
            Row::Placed { agents, together } => placed(what, agents, together).await,
        }
    }
}

/// A pool whose instructions are counted.
struct Counted {
    server: RedisServer,
    pool: Pool,
    epochs: BTreeMap<AgentId, i64>,
}

impl Counted {
    /// With agents that stay.
    async fn start(agents: usize) -> Self {
        Self::start_with(agents, &facts([LABEL.to_owned()])).await
    }

    async fn start_with(agents: usize, facts: &Facts) -> Self {
        let server = RedisServer::start_counted(&["--appendonly", "yes", "--appendfsync", "everysec"]).await;
        let ms = REACHABLE_MS;
        let settings = PoolSettings { claim_timeout_ms: ms, heartbeat_timeout_ms: ms, ..PoolSettings::default() };
        let pool = patient_store(&server.url(), settings).pool(&PoolName::default());
        let epochs = enter(&pool, agents, facts, ms).await;
        Self { server, pool, epochs }
    }

    async fn submit(&self, ids: &[JobId]) {
        let spec = job(LABEL);
        let new: Vec<_> = ids.iter().map(|id| jobs::NewJob::new(id, &spec)).collect();
        let outcome = jobs::Submit { jobs: &new, owner: "bench", explain: false }.run(&self.pool).await.unwrap();
        assert!(matches!(outcome, jobs::SubmitOutcome::Submitted { .. }), "not accepted");
    }
}

fn ids(name: &str, round: usize, count: usize) -> Vec<JobId> {
    (0..count).map(|i| JobId::new(format!("{name}-{round:04}-{i:04}")).unwrap()).collect()
}

/// Prints what was counted since `before`.
async fn print(what: &str, counted: &Counted, commands_before: u64, jobs: usize) {
    let instructions = counted.server.instructions();
    let commands = calls(&counted.server).await - commands_before;
    println!("{what:<44} {:>14.0} {:>10.2}", instructions as f64 / jobs as f64, commands as f64 / jobs as f64);
}

async fn calls(server: &RedisServer) -> u64 {
    server.command_counts().await.0.values().map(|count| count.calls).sum()
}

/// Agents by turns, so many of them at a time, report the ends of the jobs that they hold, and claim the new ones.
async fn rounds(what: &str, at_once: usize, ended_at_once: usize, together: usize) {
    let counted = Counted::start(AGENTS).await;
    let agents: Vec<_> = counted.epochs.iter().collect();
    let free_slots = u32::try_from(ended_at_once).unwrap();
    let mut held: BTreeMap<AgentId, Vec<Lease>> = BTreeMap::new();
    let (mut before, mut done, mut claims) = (0, 0, 1);
    for round in 0..FIRST + ROUNDS {
        if round == FIRST {
            let _ = counted.server.instructions();
            (before, done) = (calls(&counted.server).await, 0);
        }
        for agents in agents.chunks(together) {
            for (agent, _) in agents {
                for ids in ids(agent.as_str(), round, ended_at_once).chunks(at_once) {
                    counted.submit(ids).await;
                }
            }
            for _ in 0..ended_at_once.div_ceil(OF_A_CLAIM) {
                claims += 1;
                let reports: Vec<_> = agents
                    .iter()
                    .map(|(agent, epoch)| {
                        let ended = held.remove(*agent).unwrap_or_default();
                        done += ended.len();
                        let claim = Claim { claim: claims, free_slots, free_requests: 0 };
                        let next = agents::NextClaim { claim, reachable_ms: REACHABLE_MS };
                        let pool = &counted.pool;
                        async move { ((*agent).clone(), report_and_claim(pool, (*agent, **epoch), &ended, next).await) }
                    })
                    .collect();
                held.extend(join_all(reports).await);
            }
        }
    }
    assert_eq!(done, ROUNDS * AGENTS * ended_at_once, "not all have ended");
    print(what, &counted, before, done).await;
}

async fn issued(what: &str, at_once: usize) {
    let model = "small";
    let facts = Facts { endpoint: Some("http://127.0.0.1:1".to_owned()), ..relaying_agent::facts(model) };
    let (counted, spec) = (Counted::start_with(SERVING, &facts).await, request(model));
    let mut before = 0;
    for (n, ids) in ids("ticket", 0, TICKETS).chunks(at_once).enumerate() {
        if n * at_once == TICKETS / 2 {
            let _ = counted.server.instructions();
            before = calls(&counted.server).await;
        }
        let owners: Vec<_> = (0..ids.len()).map(|i| format!("key-{i}")).collect();
        let issuing = ids.iter().zip(&owners).map(|(id, owner)| {
            let most = u32::try_from(TICKETS).unwrap();
            let (pool, spec) = (&counted.pool, &spec);
            async move {
                let issue = Issue { id, owner, spec, session: None, hold_ms: REACHABLE_MS, most, explain: false };
                issue.run(pool).await.unwrap()
            }
        });
        for told in join_all(issuing.collect::<Vec<_>>()).await {
            assert!(matches!(told, IssueOutcome::Issued(_)), "{told:?}");
        }
    }
    print(what, &counted, before, TICKETS / 2).await;
}

/// A request as clients of gateways bring it, without its body.
fn request(model: &str) -> SubmitJob {
    let inference = InferenceSpec {
        model: model.to_owned(),
        route: InferenceRoute::ChatCompletions,
        body: String::new(),
        stream: false,
        continues: false,
        first_token_timeout_ms: 30_000,
        token_timeout_ms: 30_000,
        load_timeout_ms: 300_000,
    };
    SubmitJob { kind: JobKind::Inference, inference: Some(inference), backoff_ms: 0, ..SubmitJob::default() }
}

async fn placed(what: &str, agents: usize, together: usize) {
    let counted = Counted::start(agents).await;
    let jobs = (agents * 10).next_multiple_of(together);
    let mut before = 0;
    for (n, ids) in ids("job", 0, 2 * jobs).chunks(together).enumerate() {
        if n * together == jobs {
            let _ = counted.server.instructions();
            before = calls(&counted.server).await;
        }
        join_all(ids.iter().map(|id| counted.submit(std::slice::from_ref(id)))).await;
    }
    print(what, &counted, before, jobs).await;
}
