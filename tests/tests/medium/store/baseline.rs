//! Memory is bounded: after all work has ended and its time is over, Redis holds what it held before.

use std::collections::BTreeSet;

use titan_api::{
    agents::Facts,
    ids::{CredentialId, EventTopic, JobId},
    jobs::{JobState, SubmitJob},
    output::{Encoding, Stream},
    work::{Claim, Happening},
};
use titan_lua::{
    agents::{self as a, RemoveAgent},
    events::Publish,
    jobs::{CancelJob, Idempotency, NewJob, Submit, Terms},
    tickets as t,
    usage::{ForgetUsage, ReadUsage},
};

use super::{
    inference::{model, request},
    world::{Box_, PARKED_MS, World, facts, on_gpus, process, with_gpus},
};

const DAY_MS: i64 = 86_400_000;

/// What is there for good: the pool, the set of pools, and who has joined.
fn stays(key: &str) -> bool {
    ["titan:{default}", "titan:pools", "titan:{default}:identities"].contains(&key)
}

async fn keys(world: &World) -> BTreeSet<String> {
    world.redis.snapshot().await.0.into_keys().filter(|key| !stays(key)).collect()
}

fn text(data: String) -> Happening {
    Happening::Output { offset: 0, stream: Stream::Stdout, data, encoding: Encoding::Utf8 }
}

fn id(name: &str) -> JobId {
    JobId::new(name).unwrap()
}

/// The agent does all that it is given.
async fn work(world: &World, agent: &Box_) {
    loop {
        let claim = Claim { claim: agent.next_claim(), free_slots: 8, free_requests: 8 };
        let call =
            a::ClaimJobs { agent: &agent.id, epoch: agent.epoch, claim, measures: None, reachable_ms: PARKED_MS };
        let a::ClaimOutcome::Claimed(claimed) = call.run(&world.pool()).await.unwrap() else { panic!("turned away") };
        for lease in &claimed.leases {
            world.report(agent, lease, text("x".repeat(70_000))).await;
            world
                .report(
                    agent,
                    lease,
                    Happening::Completed { result: Some(serde_json::json!(1)), message: None, usage: None },
                )
                .await;
        }
        if claimed.leases.is_empty() {
            return;
        }
    }
}

/// Jobs of all sorts, by one key: plain, in a batch, under idempotency keys, failing, cancelled, for models, by ticket.
async fn use_everything(world: &World) -> Box_ {
    let serving = Facts {
        models: vec![model("llama", 8)],
        max_jobs: 8,
        endpoint: Some("http://127.0.0.1:1".to_owned()),
        ..with_gpus(&[24_576])
    };
    let agent = world.parked("a", &serving).await;
    let pool = world.pool();
    let submit = async |jobs: &[NewJob<'_>]| {
        Submit { jobs, owner: "key", explain: false }.run(&pool).await.unwrap();
    };
    let after = SubmitJob { depends_on: vec!["root".to_owned()], ..process() };
    let (plain, gpu, asked) = (process(), on_gpus(1, 2_000), request("llama"));
    let keyed = |name: &str| Some(Idempotency { key: name.to_owned(), body: "body".to_owned() });
    let batch = [("root", &plain), ("leaf", &after), ("other", &gpu)];
    let batch = batch.map(|(name, spec)| NewJob { idempotency: keyed(name), ..NewJob::new(&id(name), spec) });
    submit(&batch).await;
    let terms = Terms {
        begin_within_ms: Some(60_000),
        come_by_ms: None,
        keep_ms: 60_000,
        session: Some("talk".to_owned()),
        avoid: None,
        is_awaited: false,
    };
    submit(&[NewJob { terms: Some(terms), ..NewJob::new(&id("chat"), &asked) }]).await;
    submit(&[NewJob::new(&id("later"), &asked)]).await;
    work(world, &agent).await;
    let (failing, _) = world.submit_by("key", &SubmitJob { max_attempts: 1, ..process() }).await;
    let lease = world.claim(&agent, 8).await.remove(0);
    let fails = r#"{"type":"failed","reason":"exit_code","exit_code":1}"#;
    world.report(&agent, &lease, serde_json::from_str(fails).unwrap()).await;
    assert_eq!(world.state(&failing).await, JobState::Failed);
    let nobody = SubmitJob { allow_unserved: true, ..on_gpus(8, 80_000) };
    let (waiting, _) = world.submit_by("key", &nobody).await;
    CancelJob { job: &waiting }.run(&pool).await.unwrap();
    work(world, &agent).await;
    let ticket = t::Issue {
        id: &id("ticket"),
        owner: "key",
        spec: &asked,
        session: Some("talk"),
        hold_ms: 15_000,
        most: 16,
        explain: false,
    };
    assert!(matches!(ticket.run(&pool).await.unwrap(), t::IssueOutcome::Issued(_)));
    let topic = EventTopic::new("tests.done").unwrap();
    Publish { topic: &topic, payload: "{}", idempotency: Some("event") }.run(&pool).await.unwrap();
    agent
}

#[tokio::test]
async fn after_drain_and_retention_nothing_is_left_of_jobs_requests_tickets_events_and_keys() {
    let world = World::new().await;
    world.sweep().await;
    assert_eq!(keys(&world).await, BTreeSet::new());
    let agent = use_everything(&world).await;
    assert!(keys(&world).await.len() > 30, "{:?}", keys(&world).await);
    work(&world, &agent).await;
    RemoveAgent { agent: &agent.id }.run(&world.pool()).await.unwrap();
    // A timer looks now and then; the last thing that goes is what the key has had of models.
    for _ in 0..20 {
        world.pass_ms(DAY_MS / 10);
        world.sweep().await;
    }
    let left = keys(&world).await;
    let usage = ["titan:{default}:due", "titan:{default}:usage:key"].map(str::to_owned);
    assert_eq!(left, BTreeSet::from(usage));
    for _ in 0..20 {
        world.pass_ms(10 * DAY_MS);
        world.sweep().await;
    }
    assert_eq!(keys(&world).await, BTreeSet::new());
}

#[tokio::test]
async fn the_usage_of_a_key_is_kept_while_it_is_used_and_goes_with_the_key() {
    let world = World::new().await;
    let used = async || ReadUsage { owner: "key" }.run(&world.pool()).await.unwrap().models;
    let serving = Facts { models: vec![model("llama", 8)], ..facts() };
    for requests in 1..=5 {
        let agent = world.register_run("a", &format!("run-{requests}"), &serving, &[]).await;
        let (asked, spec) = (id(&format!("job-{requests}")), request("llama"));
        let submit = Submit { jobs: &[NewJob::new(&asked, &spec)], owner: "key", explain: false };
        submit.run(&world.pool()).await.unwrap();
        work(&world, &agent).await;
        for _ in 0..8 {
            world.pass_ms(10 * DAY_MS);
            world.sweep().await;
        }
        assert_eq!(used().await[0].requests, requests, "a request every 80 days keeps it");
    }
    ForgetUsage { key: &CredentialId::new("key").unwrap() }.run(&world.pool()).await.unwrap();
    assert_eq!(used().await, []);
    assert!(!keys(&world).await.iter().any(|key| key.contains(":usage:")));
}
