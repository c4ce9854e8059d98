//! Jobs of one call go where they would go one after the other, whatever the agents are like.

use std::collections::BTreeMap;

use redis::AsyncCommands;
use titan_api::{
    agents::{AgentState, Facts, Model},
    ids::{AgentId, JobId},
    jobs::{Requirements, SubmitJob},
};
use titan_lua::jobs::{NewJob, Submit, SubmitOutcome};
use titan_tests::audit::findings;

use super::{
    inference::{model, request},
    world::{Box_, World, facts, on_gpus, process, with_gpus},
};

/// Where jobs went, each with the score of the agent.
type Went = Vec<(Option<AgentId>, f64)>;

/// Submits jobs, so many with each call.
async fn submit(world: &World, specs: &[SubmitJob], at_once: usize) -> Went {
    let mut went = Went::new();
    let id = |n| JobId::new(format!("{n:02}-of-{}", specs.len())).unwrap();
    let jobs: Vec<_> = specs.iter().enumerate().map(|(n, spec)| (id(n), spec)).collect();
    for jobs in jobs.chunks(at_once) {
        let jobs: Vec<_> = jobs.iter().map(|(id, spec)| NewJob::new(id, spec)).collect();
        let outcome = Submit { jobs: &jobs, owner: "test", explain: false }.run(&world.pool()).await.unwrap();
        let SubmitOutcome::Submitted { jobs, .. } = outcome else { panic!("{outcome:?}") };
        went.extend(jobs.into_iter().map(|job| (job.agent, job.score)));
    }
    went
}

/// Who stands where in each rank, by its key.
async fn ranks(world: &World) -> BTreeMap<String, Vec<(String, f64)>> {
    let mut redis = world.redis.connection().await;
    let names: Vec<String> = redis.keys("titan:{default}:rank:*").await.unwrap();
    let mut ranks = BTreeMap::new();
    for name in names {
        let standing = redis.zrange_withscores(&name, 0, -1).await.unwrap();
        ranks.insert(name, standing);
    }
    ranks
}

fn need(ram_mb: u64, cpus: f64) -> SubmitJob {
    SubmitJob { requirements: Requirements { ram_mb, cpus, ..Requirements::default() }, ..process() }
}

fn with_label(label: &str, spec: SubmitJob) -> SubmitJob {
    let agent_labels = [("is".to_owned(), label.to_owned())].into();
    SubmitJob { requirements: Requirements { agent_labels, ..spec.requirements }, ..spec }
}

fn labelled(label: &str, facts: Facts) -> Facts {
    Facts { labels: [("is".to_owned(), label.to_owned())].into(), ..facts }
}

/// An agent with eight slots that runs a job and keeps CPUs for a larger one, which was passed over.
async fn held(world: &World) -> Box_ {
    let agent = world.parked("held", &Facts { max_jobs: 8, ..facts() }).await;
    world.bound(&need(0, 4.0)).await;
    let lease = world.claim(&agent, 8).await.remove(0);
    let large = world.pending(&need(0, 6.0)).await;
    world.pass_with_leases_ms(70_000, &agent, &[&lease]).await;
    assert_eq!(world.agent(&agent).await.held_for, Some(large));
    agent
}

#[tokio::test]
async fn a_slot_that_an_agent_keeps_is_no_load() {
    let mut went = Vec::new();
    for at_once in [1, 8] {
        let world = World::new().await;
        let agent = held(&world).await;
        world.parked("other", &labelled("other", Facts { max_jobs: 8, cpus: 4, ..facts() })).await;
        world.claim(&agent, 8).await;
        for _ in 0..3 {
            world.bound(&with_label("other", process())).await;
        }
        went.push(submit(&world, &vec![process(); 8], at_once).await);
    }
    assert_eq!(went[0], went[1]);
}

/// Agents of all sorts: with much and little, with GPUs, models and labels, busy, late, and one that is held.
async fn fleet(world: &World, kind: usize) {
    let mut agents = vec![held(world).await];
    for n in 0..7_u32 {
        let facts = if n % 3 == 0 { with_gpus(&[24_576, 12_288]) } else { facts() };
        let facts = Facts { max_jobs: 1 + n % 4, cpus: 2 + 2 * (n % 3), ram_mb: 8_192 << (n % 3), ..facts };
        let facts = if n % 4 == 1 { labelled("other", facts) } else { facts };
        let llama = Model { vram_mb: 6_000, loaded: n % 4 != 2, ..model("llama", 1 + n % 3) };
        let models = if n % 3 == 2 { Vec::new() } else { vec![llama, model("tiny", 1)] };
        let facts = Facts { models, ..facts };
        agents.push(world.register(&format!("agent-{n}"), &facts).await);
    }
    let (late, on_time): (Vec<_>, Vec<_>) = agents.iter().enumerate().partition(|(n, _)| n % 5 == 1 + kind % 4);
    let on_time: Vec<_> = on_time.into_iter().map(|(_, agent)| agent).collect();
    world.pass_with_beats_ms(30_000, &on_time).await;
    for agent in &agents {
        world.claim_both(agent, 64, 64).await;
    }
    for (_, agent) in late {
        assert_eq!(world.agent(agent).await.state, AgentState::Degraded);
    }
}

/// Jobs of all sorts, a few alike one after the other.
fn jobs(kind: usize) -> Vec<SubmitJob> {
    let gpus = |spec: SubmitJob, exclusive| SubmitJob {
        requirements: Requirements { exclusive, ..spec.requirements },
        ..spec
    };
    let sorts = [
        process(),
        need(1_000, 0.0),
        need(0, 0.5),
        with_label("other", process()),
        on_gpus(1, 4_000),
        gpus(on_gpus(1, 10_000), true),
        need(3_000, 1.0),
        request("llama"),
        request("tiny"),
        with_label("other", request("llama")),
        SubmitJob { priority: 5, ..process() },
        SubmitJob { max_attempts: 3, ..process() },
    ];
    (0..32)
        .map(|n| SubmitJob { allow_unserved: true, ..sorts[(n / (1 + kind % 5) + kind) % sorts.len()].clone() })
        .collect()
}

#[tokio::test]
async fn jobs_of_all_sorts_go_to_agents_of_all_sorts_as_they_would_alone() {
    for kind in 0..8 {
        let (mut went, mut stand) = (Vec::new(), Vec::new());
        for at_once in [1, 32] {
            let world = World::new().await;
            fleet(&world, kind).await;
            let specs = jobs(kind);
            // All classes are made.
            went.push([submit(&world, &specs[..8], 1).await, submit(&world, &specs[8..], at_once).await].concat());
            stand.push(ranks(&world).await);
            assert_eq!(findings(&world.pool()).await, []);
        }
        let bound = went[0].iter().filter(|(agent, _)| agent.is_some()).count();
        assert!(bound > 12 && bound < 32, "{bound} have an agent");
        assert_eq!(went[0], went[1], "of kind {kind}");
        assert_eq!(stand[0], stand[1], "of kind {kind}");
    }
}

#[tokio::test]
async fn an_agent_stands_for_jobs_with_gpus_where_it_would_whoever_got_its_slots() {
    let mut stand = Vec::new();
    for at_once in [1, 4] {
        let world = World::new().await;
        world.parked("agent", &Facts { max_jobs: 8, ..with_gpus(&[24_576]) }).await;
        world.bound(&on_gpus(1, 8_000)).await;
        world.bound(&process()).await;
        submit(&world, &vec![process(); 4], at_once).await;
        stand.push(ranks(&world).await);
    }
    assert_eq!(stand[0].len(), 2);
    assert_eq!(stand[0], stand[1]);
}

#[tokio::test]
async fn agents_that_are_late_all_at_once_are_not_all_looked_at_at_once() {
    let world = World::new().await;
    for n in 0..300 {
        world.parked(&format!("late-{n:03}"), &facts()).await;
    }
    world.bound(&process()).await;
    world.sweep().await;
    // As when every coordinator was away for a while.
    world.pass_ms(60_000);
    let before = world.redis.command_counts().await;
    let jobs = [0, 500, 600, 700].map(|ram_mb| SubmitJob { allow_unserved: true, ..need(ram_mb, 0.0) });
    let went = submit(&world, &[jobs.clone(), jobs].concat(), 8).await;
    let ran = world.redis.command_counts().await.since(&before);
    let commands: u64 = ran.0.values().map(|count| count.calls).sum();
    assert!(commands < 700, "a script looks at too much at once: {commands} commands");
    assert!(went.iter().all(|(agent, _)| agent.is_none()));
}
