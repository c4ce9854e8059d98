//! What hinders agents from asking for work: shown for as long as they say so, and named where a job waits for it.

use titan_api::{
    agents::{Hindrance, Measures},
    ids::JobId,
    jobs::{HinderedAgent, JobKind, SubmitJob, Waiting},
    scheduler::RuledOut,
};
use titan_lua::jobs::WhyWaiting;

use super::{
    inference::{model, request, serving},
    world::{Box_, World, facts, free, on_gpus, process, with_gpus},
};

fn hindrance(kind: JobKind, why: &str) -> Hindrance {
    Hindrance { kind, why: why.to_owned() }
}

fn hindered(kind: JobKind, why: &str) -> Measures {
    Measures { hindered_by: vec![hindrance(kind, why)], ..Measures::default() }
}

async fn say(world: &World, agent: &Box_, measures: &Measures) {
    world.beat_with(agent, 0, &[], measures).await;
}

async fn why(world: &World, job: &JobId) -> Waiting {
    WhyWaiting { job }.run(&world.pool()).await.unwrap().expect("it waits")
}

fn named(agent: &Box_, why: &[&str]) -> HinderedAgent {
    HinderedAgent { agent_id: agent.id.clone(), hindered_by: why.iter().map(|&why| why.to_owned()).collect() }
}

fn ruled_out(reasons: &[(&str, u64)]) -> Vec<RuledOut> {
    reasons.iter().map(|&(reason, agents)| RuledOut { reason: reason.into(), agents }).collect()
}

#[tokio::test]
async fn what_hinders_an_agent_is_shown_until_it_says_so_no_more() {
    let world = World::new().await;
    let agent = world.register("a", &facts()).await;
    let shown = async || world.agent(&agent).await.hindered_by;
    assert_eq!(shown().await, []);
    let both = vec![hindrance(JobKind::Process, "its disk is full"), hindrance(JobKind::Inference, "vllm is starting")];
    say(&world, &agent, &Measures { hindered_by: both.clone(), ..Measures::default() }).await;
    assert_eq!(shown().await, both);
    world.claim(&agent, 4).await;
    assert_eq!(shown().await, both, "a claim that measures nothing says nothing of it");
    say(&world, &agent, &hindered(JobKind::Inference, "vllm is starting")).await;
    assert_eq!(shown().await, both[1..]);
    say(&world, &agent, &hindered(JobKind::Inference, "vllm does not answer")).await;
    assert_eq!(shown().await[0].why, "vllm does not answer");
    world.beat(&agent, &[]).await;
    assert_eq!(shown().await, []);
    say(&world, &agent, &hindered(JobKind::Process, "its disk is full")).await;
    world.register_run("a", "second", &facts(), &[]).await;
    assert_eq!(shown().await, [], "another run says it anew");
}

#[tokio::test]
async fn a_job_that_waits_names_agents_that_are_hindered_in_its_kind_of_work_and_says_what_by() {
    let world = World::new().await;
    let full = world.register("full", &facts()).await;
    let other = world.register("other", &facts()).await;
    let job = world.pending(&process()).await;
    say(&world, &full, &hindered(JobKind::Process, "its disk is full")).await;
    say(&world, &other, &hindered(JobKind::Inference, "vllm is starting")).await;
    let waiting = why(&world, &job).await;
    assert_eq!(waiting.ruled_out, ruled_out(&[("hindered", 1), ("not_waiting", 1)]));
    assert_eq!(waiting.hindered, [named(&full, &["its disk is full"])]);
    // It could not run this one even so.
    let elsewhere = world.pending(&SubmitJob { allow_unserved: true, ..on_gpus(1, 1) }).await;
    assert_eq!(why(&world, &elsewhere).await.hindered, []);
    // Once it asks again, it is given the job.
    say(&world, &full, &Measures::default()).await;
    assert_eq!(world.claim(&full, 1).await[0].job_id, job);
}

#[tokio::test]
async fn a_request_that_waits_names_agents_whose_backends_are_away() {
    let world = World::new().await;
    world.register("there", &serving(&[model("llama", 1)])).await;
    let away = world.register("away", &serving(&[])).await;
    let request = world.pending(&request("llama")).await;
    say(&world, &away, &hindered(JobKind::Inference, "ollama serves nothing now")).await;
    let waiting = why(&world, &request).await;
    assert_eq!(waiting.ruled_out, ruled_out(&[("model", 1), ("not_waiting", 1)]));
    assert_eq!(waiting.hindered, [named(&away, &["ollama serves nothing now"])]);
}

#[tokio::test]
async fn a_job_for_a_gpu_that_does_not_answer_is_told_so_though_the_agent_asks_for_work() {
    let world = World::new().await;
    let agent = world.parked("a", &with_gpus(&[8_192])).await;
    let lost = Measures {
        hindered_by: hindered(JobKind::Process, "GPU-0 does not answer").hindered_by,
        ..free(&[(0, 0, None)])
    };
    say(&world, &agent, &lost).await;
    let job = world.pending(&on_gpus(1, 1_000)).await;
    let waiting = why(&world, &job).await;
    assert_eq!(waiting.ruled_out, ruled_out(&[("vram_free", 1)]));
    assert_eq!(waiting.hindered, [named(&agent, &["GPU-0 does not answer"])]);
}

#[tokio::test]
async fn no_more_than_eight_hindered_agents_are_named() {
    let world = World::new().await;
    for n in 0..10 {
        let agent = world.register(&format!("a{n}"), &facts()).await;
        say(&world, &agent, &hindered(JobKind::Process, "its disk is full")).await;
    }
    let waiting = why(&world, &world.pending(&process()).await).await;
    assert_eq!(waiting.ruled_out, ruled_out(&[("hindered", 10)]));
    assert_eq!(waiting.hindered.len(), 8);
}

#[tokio::test]
async fn a_heartbeat_takes_as_many_commands_whether_it_tells_of_hindrances_or_not() {
    let world = World::new().await;
    let agent = world.register("a", &facts()).await;
    let commands = async |measures: &Measures| {
        let before = world.redis.command_counts().await;
        say(&world, &agent, measures).await;
        let mut calls = world.redis.command_counts().await.since(&before).0;
        calls.retain(|command, _| command != "info" && !command.starts_with("client") && command != "hello");
        calls.into_iter().map(|(command, count)| (command, count.calls)).collect::<Vec<_>>()
    };
    let none = Measures::default();
    commands(&none).await;
    let usual = commands(&none).await;
    assert!(!usual.is_empty());
    let full = hindered(JobKind::Process, "its disk is full");
    for measures in [&full, &full, &none, &none] {
        assert_eq!(commands(measures).await, usual);
    }
}
