//! A key of which many keep something, and which something else has made one of another type: whoever comes across it goes on,
//! and what can be made anew is.

use std::time::Duration;

use redis::AsyncCommands;
use titan_api::{
    agents::{AgentState, Facts},
    ids::JobId,
    inference::Usage,
    jobs::{JobState, Reason, SubmitJob},
    output::{Encoding, Stream},
    work::{Answer, Happening, Lease, Report},
};
use titan_lua::{agents as a, jobs as j, tickets as t};
use titan_tests::audit::findings;

use super::{
    inference::{model, request},
    world::{Box_, World, facts, held, only, process},
};

/// What is made a set: every key that is there and begins so; `RUNNING` stands for a job.
const DAMAGED: &[&str] = &[
    "members:",
    "rank:",
    "class:",
    "sessions",
    "session_agents",
    "usage:key",
    "tickets:key",
    "holds",
    "makers",
    "failures:RUNNING",
    "output:RUNNING:",
];

const COMPLETED: Happening = Happening::Completed { result: None, message: None, usage: None };
const ANSWERED: Happening = Happening::Completed {
    result: None,
    message: None,
    usage: Some(Usage {
        prompt_tokens: Some(7),
        completion_tokens: Some(9),
        first_token_ms: Some(20),
        generation_ms: Some(90),
        load_ms: None,
    }),
};
const FAILED: Happening =
    Happening::Failed { reason: Reason::ExitCode, exit_code: Some(1), signal: None, message: None };

fn text(offset: u64, data: &str) -> Happening {
    Happening::Output { offset, stream: Stream::Stdout, data: data.into(), encoding: Encoding::Utf8 }
}

fn id(name: &str) -> JobId {
    JobId::new(name).unwrap()
}

fn box_() -> Facts {
    Facts { endpoint: Some("http://192.0.2.1".into()), models: vec![model("llama", 4)], ..facts() }
}

/// A request of a conversation.
async fn talk(world: &World, name: &str) {
    let (id, spec) = (id(name), request("llama"));
    let terms = j::Terms {
        begin_within_ms: Some(60_000),
        come_by_ms: None,
        keep_ms: 60_000,
        session: Some("talk".to_owned()),
        avoid: None,
        is_awaited: false,
    };
    let new = j::NewJob { terms: Some(terms), ..j::NewJob::new(&id, &spec) };
    let outcome = j::Submit { jobs: &[new], owner: "key", explain: false }.run(&world.pool()).await.unwrap();
    assert_eq!(only(&outcome).id, id);
}

async fn ticket(world: &World, name: &str) -> t::IssueOutcome {
    let (id, spec) = (id(name), request("llama"));
    let issue =
        t::Issue { id: &id, owner: "key", spec: &spec, session: None, hold_ms: 15_000, most: 4, explain: false };
    issue.run(&world.pool()).await.unwrap()
}

async fn report(world: &World, agent: &Box_, reports: &[(&Lease, Happening)]) {
    let reports: Vec<_> = reports.iter().map(|(lease, event)| Report::new(held(lease), event.clone())).collect();
    let batch = a::ReportBatch { agent: &agent.id, epoch: agent.epoch, reports: &reports };
    let a::ReportOutcome::Reported(reported) = batch.run(&world.pool()).await.unwrap() else { panic!("turned away") };
    assert!(reported.answers.iter().all(|answer| *answer == Answer::Accepted {}), "{:?}", reported.answers);
}

/// Makes each such key a set, and says how many there were.
async fn damage(world: &World, beginning: &str, running: &JobId) -> usize {
    let mut redis = world.redis.connection().await;
    let pattern = format!("titan:{{default}}:{}*", beginning.replace("RUNNING", running.as_str()));
    let keys: Vec<String> = redis::cmd("KEYS").arg(&pattern).query_async(&mut redis).await.unwrap();
    for key in &keys {
        let () = redis::cmd("DEL").arg(key).query_async(&mut redis).await.unwrap();
        let () = redis::cmd("SADD").arg(key).arg("x").query_async(&mut redis).await.unwrap();
    }
    keys.len()
}

/// Whatever waits for these boxes is done.
async fn work(world: &World, boxes: &[&Box_]) {
    for _ in 0..3 {
        for &agent in boxes {
            for lease in world.claim_both(agent, 4, 4).await {
                let event = if lease.job_id.as_str().starts_with("talk") { ANSWERED } else { COMPLETED };
                report(world, agent, &[(&lease, event)]).await;
            }
        }
    }
}

/// A pool at work, in which the key is damaged and then all goes on.
async fn goes_on(beginning: &str) {
    let world = World::new().await;
    let (first, second) = (world.register("a", &box_()).await, world.register("b", &box_()).await);
    for agent in [&first, &second] {
        world.claim_both(agent, 4, 4).await;
    }
    let large = SubmitJob { max_attempts: 1, ..process() };
    let (running, agent) = world.bound(&large).await;
    let at = if agent == first.id { &first } else { &second };
    let of_process = world.claim_both(at, 4, 4).await.remove(0);
    report(&world, at, &[(&of_process, text(0, "before"))]).await;
    talk(&world, "talk-1").await;
    work(&world, &[&first, &second]).await;
    talk(&world, "talk-2").await;
    let _ = ticket(&world, "ticket-1").await;
    let mut redis = world.redis.connection().await;
    // What is there only at times.
    let () = redis::cmd("HSET").arg("titan:{default}:holds").arg("7").arg("x").query_async(&mut redis).await.unwrap();
    let () = redis::cmd("ZADD").arg("titan:{default}:makers").arg(1).arg("x").query_async(&mut redis).await.unwrap();
    let failure = format!("titan:{{default}}:failures:{running}");
    let () = redis::cmd("RPUSH").arg(failure).arg("{}").query_async(&mut redis).await.unwrap();
    assert!(damage(&world, beginning, &running).await > 0, "{beginning}: there is none");

    for agent in [&first, &second] {
        let leases = if agent.id == at.id { vec![held(&of_process)] } else { Vec::new() };
        world.beat(agent, &leases).await;
    }
    world.sweep().await;
    // What came of the job in the same call as of another one.
    let (other, _) = world.submit(&process()).await;
    let of_other = world.claim_both(at, 4, 0).await.into_iter().find(|lease| lease.job_id == other);
    let of_process = |event| (&of_process, event);
    let mut reports = vec![of_process(text(6, "after")), of_process(FAILED)];
    reports.extend(of_other.as_ref().map(|lease| (lease, COMPLETED)));
    report(&world, at, &reports).await;
    work(&world, &[&first, &second]).await;
    assert_eq!(world.state(&other).await, JobState::Completed);
    assert_eq!(world.state(&id("talk-2")).await, JobState::Completed);
    talk(&world, "talk-3").await;
    assert!(matches!(ticket(&world, "ticket-2").await, t::IssueOutcome::Issued { .. }));
    let third = world.register("c", &box_()).await;
    world.claim_both(&third, 4, 4).await;
    work(&world, &[&first, &second, &third]).await;
    assert_eq!(world.state(&id("talk-3")).await, JobState::Completed);
    // Tickets that nobody brings come to their end, too, and all that is old is forgotten.
    for _ in 0..12 {
        world.pass_ms(10_000);
        for agent in [&first, &second, &third] {
            world.beat(agent, &[]).await;
        }
        world.sweep().await;
    }
    // Jobs get to each of them, which they do only where ranks and members are what they were.
    for agent in [&first, &second, &third] {
        world.claim_both(agent, 4, 4).await;
    }
    let mut reached: Vec<_> = Vec::new();
    for _ in 0..12 {
        reached.push(world.bound(&process()).await.1);
    }
    reached.sort();
    reached.dedup();
    assert_eq!(reached.len(), 3, "{reached:?}");
    for agent in [&first, &second, &third] {
        assert_eq!(world.agent(agent).await.state, AgentState::Healthy);
    }
    let found = findings(&world.pool()).await;
    assert!(found.iter().all(|finding| finding.wrong.contains("was of another type")), "{found:#?}");
}

#[tokio::test]
async fn a_key_of_another_type_keeps_nobody_up_and_what_can_be_made_anew_is() {
    for beginning in DAMAGED {
        eprintln!("damaged: {beginning}");
        goes_on(beginning).await;
    }
}

#[tokio::test]
async fn a_class_that_was_of_another_type_is_made_again_for_the_jobs_that_wait_in_it() {
    let world = World::new().await;
    world.register("away", &facts()).await;
    let (waiting, _) = world.submit(&process()).await;
    assert_eq!(world.state(&waiting).await, JobState::Pending);
    assert_eq!(damage(&world, "class:", &waiting).await, 1);

    let agent = world.register("here", &facts()).await;
    let mut leases = Vec::new();
    for _ in 0..70 {
        world.pass_ms(10_000);
        world.beat(&agent, &[]).await;
        world.sweep().await;
        leases = world.claim_both(&agent, 4, 0).await;
        if !leases.is_empty() {
            break;
        }
    }
    assert_eq!(leases.iter().map(|lease| &lease.job_id).collect::<Vec<_>>(), [&waiting]);
}

#[tokio::test]
async fn a_class_that_says_nothing_of_itself_is_let_go_of_though_a_job_of_another_stands_in_its_line() {
    let world = World::new().await;
    let (waiting, _) = world.submit(&SubmitJob { allow_unserved: true, ..process() }).await;
    let mut redis = world.redis.connection().await;
    let () = redis.zadd("titan:{default}:pending:lost", waiting.as_str(), 1).await.unwrap();
    let () = redis.zadd("titan:{default}:due", "class:lost", 0).await.unwrap();
    let sweeping = tokio::time::timeout(Duration::from_secs(20), world.sweep());
    sweeping.await.expect("it falls due in every script for ever");
    let due: Option<f64> = redis.zscore("titan:{default}:due", "class:lost").await.unwrap();
    assert_eq!(due, None);
    assert_eq!(world.state(&waiting).await, JobState::Pending);
}
