//! Jobs that wait for a time or for other jobs, that are tried again, and that are sent twice.

use std::collections::BTreeMap;

use titan_api::{
    agents::Facts,
    ids::JobId,
    jobs::{JobState, OnDependencyFailure, OnDisconnect, Reason, SubmitJob},
    output::{Encoding, Stream},
    time::Timestamp,
    work::Happening,
};
use titan_lua::{
    PoolSettings, StoreError,
    jobs::{
        CancelJob, GetJob, Idempotency, ListJobs, NewJob, RetryJob, RetryOutcome, Submit, SubmitOutcome, Submitted,
    },
};

use super::world::{World, facts, held, only, process};

fn id(name: &str) -> JobId {
    JobId::new(name).unwrap()
}

fn after(jobs: &[&JobId], spec: SubmitJob) -> SubmitJob {
    SubmitJob { depends_on: jobs.iter().map(ToString::to_string).collect(), allow_unserved: true, ..spec }
}

fn unserved() -> SubmitJob {
    SubmitJob { allow_unserved: true, ..process() }
}

fn failed(exit_code: i32) -> Happening {
    Happening::Failed { reason: Reason::ExitCode, exit_code: Some(exit_code), signal: None, message: None }
}

async fn send(world: &World, jobs: &[NewJob<'_>]) -> Result<SubmitOutcome, StoreError> {
    Submit { jobs, owner: "test", explain: false }.run(&world.pool()).await
}

async fn accepted(world: &World, jobs: &[NewJob<'_>]) -> Vec<Submitted> {
    match send(world, jobs).await.unwrap() {
        SubmitOutcome::Submitted { jobs, .. } => jobs,
        other => panic!("not accepted: {other:?}"),
    }
}

#[tokio::test]
async fn a_job_waits_for_its_time_and_is_placed_then() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let spec = SubmitJob { not_before: Some(Timestamp::from_ms(world.now_ms.get() + 3_000)), ..process() };
    let (id, outcome) = world.submit(&spec).await;
    assert_eq!(only(&outcome).state, JobState::Delayed);
    world.pass_ms(2_999);
    world.sweep().await;
    assert_eq!(world.state(&id).await, JobState::Delayed);
    world.pass_ms(1);
    world.sweep().await;
    assert_eq!(world.state(&id).await, JobState::Scheduled);
    assert_eq!(world.claim(&agent, 1).await[0].job_id, id);
}

#[tokio::test]
async fn a_job_that_failed_waits_longer_before_each_further_attempt() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let (id, _) = world.bound(&SubmitJob { backoff_ms: 10_000, max_attempts: 3, ..process() }).await;
    let mut waits = Vec::new();
    for _ in 0..2 {
        let lease = world.claim(&agent, 1).await.remove(0);
        world.report(&agent, &lease, failed(1)).await;
        let waiting = world.job(&id).await;
        assert_eq!((waiting.state, waiting.exit_code), (JobState::Delayed, Some(1)));
        let wait_ms = waiting.not_before.unwrap().as_ms() - world.now_ms.get();
        waits.push(wait_ms);
        world.pass_ms(wait_ms);
        world.beat(&agent, &[]).await;
        world.sweep().await;
    }
    assert!((5_000..=10_000).contains(&waits[0]) && (10_000..=20_000).contains(&waits[1]), "{waits:?}");
    let lease = world.claim(&agent, 1).await.remove(0);
    world.report(&agent, &lease, failed(1)).await;
    assert_eq!(world.job(&id).await.state, JobState::Failed);
}

#[tokio::test]
async fn a_job_starts_when_all_that_it_depends_on_have_ended_well() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let (first, _) = world.bound(&process()).await;
    let (second, _) = world.bound(&process()).await;
    let (last, outcome) = world.submit(&after(&[&first, &second], process())).await;
    assert_eq!((only(&outcome).state, world.job(&last).await.waits_for), (JobState::Blocked, Some(2)));
    let leases = world.claim(&agent, 2).await;
    world.report(&agent, &leases[0], Happening::Completed { result: None, message: None, usage: None }).await;
    world.sweep().await;
    let waiting = world.job(&last).await;
    assert_eq!((waiting.state, waiting.waits_for), (JobState::Blocked, Some(1)));
    world.report(&agent, &leases[1], Happening::Completed { result: None, message: None, usage: None }).await;
    world.claim(&agent, 4).await;
    world.sweep().await;
    assert_eq!(world.job(&last).await.waits_for, None);
    assert!(!matches!(world.state(&last).await, JobState::Blocked | JobState::Cancelled));
    // One that depends only on what has ended well does not wait at all.
    let (_, outcome) = world.submit(&after(&[&first], process())).await;
    assert_ne!(only(&outcome).state, JobState::Blocked);
}

#[tokio::test]
async fn a_failure_cancels_what_depends_on_it_down_the_line_unless_it_is_to_run_all_the_same() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let (first, _) = world.bound(&SubmitJob { max_attempts: 1, ..process() }).await;
    let (second, _) = world.submit(&after(&[&first], process())).await;
    let (third, _) = world.submit(&after(&[&second], process())).await;
    let run = SubmitJob { on_dependency_failure: OnDependencyFailure::Run, ..process() };
    let (cleanup, _) = world.submit(&after(&[&first, &third], run)).await;
    let lease = world.claim(&agent, 1).await.remove(0);
    world.report(&agent, &lease, failed(7)).await;
    world.sweep().await;
    for id in [&second, &third] {
        let cancelled = world.job(id).await;
        assert_eq!((cancelled.state, cancelled.reason), (JobState::Cancelled, Some(Reason::DependencyFailed)));
    }
    assert!(world.job(&second).await.message.unwrap().contains(first.as_str()));
    assert!(matches!(world.state(&cleanup).await, JobState::Scheduled | JobState::Pending));
    let (late, outcome) = world.submit(&after(&[&first], process())).await;
    assert_eq!(only(&outcome).state, JobState::Cancelled);
    assert_eq!(world.job(&late).await.reason, Some(Reason::DependencyFailed));
}

#[tokio::test]
async fn a_job_that_is_tried_again_waits_again_for_what_it_depends_on() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let (first, _) = world.bound(&SubmitJob { max_attempts: 1, ..process() }).await;
    let (second, _) = world.submit(&after(&[&first], process())).await;
    let retry = async |id| RetryJob { job: id }.run(&world.pool()).await.unwrap();
    CancelJob { job: &second }.run(&world.pool()).await.unwrap();
    assert_eq!(world.job(&second).await.waits_for, None);
    assert_eq!(retry(&second).await, RetryOutcome::Done(JobState::Blocked));
    assert_eq!(world.job(&second).await.waits_for, Some(1));
    // What it waits for fails, so it is cancelled, and a retry alone changes nothing about that.
    let lease = world.claim(&agent, 1).await.remove(0);
    world.report(&agent, &lease, failed(1)).await;
    world.claim(&agent, 4).await;
    assert_eq!(world.state(&second).await, JobState::Cancelled);
    assert_eq!(retry(&second).await, RetryOutcome::Done(JobState::Cancelled));
    // Once that is tried again, the other waits for it again.
    assert_eq!(retry(&first).await, RetryOutcome::Done(JobState::Scheduled));
    assert_eq!(retry(&second).await, RetryOutcome::Done(JobState::Blocked));
    let lease = world.claim(&agent, 1).await.remove(0);
    assert_eq!(lease.job_id, first);
    world.report(&agent, &lease, Happening::Completed { result: None, message: None, usage: None }).await;
    assert!(matches!(world.state(&second).await, JobState::Scheduled | JobState::Pending));
    assert_eq!(titan_tests::audit::findings(&world.pool()).await, []);
}

#[tokio::test]
async fn a_dependent_that_can_not_be_placed_keeps_no_other_from_being_told() {
    let world = World::new().await;
    let agent = world.register("a", &facts()).await;
    let (first, _) = world.submit(&unserved()).await;
    let mut run = SubmitJob { on_dependency_failure: OnDependencyFailure::Run, ..unserved() };
    run.requirements.agent_labels.insert("zone".to_owned(), "elsewhere".to_owned());
    let (spoiled, _) = world.submit(&after(&[&first], run.clone())).await;
    let (other, _) = world.submit(&after(&[&first], run)).await;
    // So long that the class is dropped: it is made again from what was submitted, which can't be read of one of the two.
    world.pass_with_beats_ms(1_210_000, &[&agent]).await;
    let spec = format!("titan:{{default}}:spec:{spoiled}");
    let mut redis = world.redis.connection().await;
    let () = redis::cmd("SET").arg(spec).arg("{").query_async(&mut redis).await.unwrap();
    CancelJob { job: &first }.run(&world.pool()).await.unwrap();
    world.sweep().await;
    assert_eq!(world.state(&other).await, JobState::Pending);
    let found = titan_tests::audit::findings(&world.pool()).await;
    assert!(found.iter().any(|found| found.id.contains(spoiled.as_str())), "{found:?}");
}

#[tokio::test]
async fn all_kinds_of_jobs_in_a_batch_find_their_agents() {
    let world = World::new().await;
    world.parked("a", &Facts { max_jobs: 8, ..super::world::with_gpus(&[24_576, 24_576]) }).await;
    let specs = [process(), super::world::on_gpus(1, 1_000), super::world::on_gpus(2, 1_000)];
    let jobs: Vec<_> = specs.iter().enumerate().map(|(i, spec)| NewJob::new(&id(&format!("kind-{i}")), spec)).collect();
    let states: Vec<_> = accepted(&world, &jobs).await.into_iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Scheduled; 3]);
    assert_eq!(titan_tests::audit::findings(&world.pool()).await, []);
}

#[tokio::test]
async fn a_wide_fan_out_is_worked_off_in_bounded_pieces() {
    let world = World::new().await;
    let (root, _) = world.submit(&unserved()).await;
    let spec = after(&[&root], process());
    let ids: Vec<_> = (0..200).map(|i| id(&format!("leaf-{i:03}"))).collect();
    let jobs: Vec<_> = ids.iter().map(|id| NewJob::new(id, &spec)).collect();
    assert!(accepted(&world, &jobs).await.iter().all(|job| job.state == JobState::Blocked));
    CancelJob { job: &root }.run(&world.pool()).await.unwrap();
    world.sweep().await;
    for id in &ids {
        assert_eq!(world.state(id).await, JobState::Cancelled);
    }
}

#[tokio::test]
async fn jobs_of_a_batch_depend_on_each_other_across_runs_of_the_script() {
    let world = World::new().await;
    let ids: Vec<_> = (0..150).map(|i| id(&format!("link-{i:03}"))).collect();
    let mut specs = vec![unserved()];
    specs.extend(ids.iter().take(149).map(|before| after(&[before], process())));
    let key = |i: usize| Idempotency { key: format!("k.{i}"), body: "b".to_owned() };
    let chain = |ids: &[JobId]| -> Vec<NewJob<'static>> {
        let specs: &'static [SubmitJob] = Box::leak(specs.clone().into_boxed_slice());
        let new = ids.iter().zip(specs).enumerate();
        new.map(|(i, (id, spec))| NewJob { id: id.clone(), spec, idempotency: Some(key(i)), terms: None, trace: None })
            .collect()
    };
    let first = accepted(&world, &chain(&ids)).await;
    assert_eq!(first[0].state, JobState::Pending);
    assert!(first[1..].iter().all(|job| job.state == JobState::Blocked));
    // Sent again with new ids, as a caller does that never heard of the first answer.
    let others: Vec<_> = (0..150).map(|i| id(&format!("again-{i:03}"))).collect();
    let again = accepted(&world, &chain(&others)).await;
    assert_eq!(again.iter().map(|job| &job.id).collect::<Vec<_>>(), ids.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn an_idempotency_key_gives_one_job_for_as_long_as_the_job_is_kept() {
    let world = World::with(PoolSettings { job_retention_ms: 60_000, ..PoolSettings::default() }).await;
    let spec = unserved();
    let new = |name: &str, body: &str| NewJob {
        id: id(name),
        spec: Box::leak(Box::new(spec.clone())),
        idempotency: Some(Idempotency { key: "key".to_owned(), body: body.to_owned() }),
        terms: None,
        trace: None,
    };
    let first = accepted(&world, &[new("first", "b")]).await.remove(0);
    assert_eq!(accepted(&world, &[new("second", "b")]).await.remove(0).id, first.id);
    assert_eq!(send(&world, &[new("third", "c")]).await.unwrap(), SubmitOutcome::Reused);
    assert!(GetJob { job: &id("second") }.run(&world.pool()).await.unwrap().is_none());
    CancelJob { job: &first.id }.run(&world.pool()).await.unwrap();
    assert_eq!(accepted(&world, &[new("second", "b")]).await.remove(0).state, JobState::Cancelled);
    let keeper = world.parked("keeper", &facts()).await;
    world.pass_with_beats_ms(70_000, &[&keeper]).await;
    world.sweep().await;
    assert_eq!(accepted(&world, &[new("fourth", "c")]).await.remove(0).id, id("fourth"));
}

#[tokio::test]
async fn a_batch_with_an_unknown_dependency_or_a_job_that_nobody_could_run_writes_nothing() {
    let world = World::new().await;
    world.parked("a", &facts()).await;
    let (good, bad) = (process(), after(&[&id("nobody")], process()));
    let huge = super::world::on_gpus(8, 80_000);
    let outcome = send(&world, &[NewJob::new(&id("one"), &good), NewJob::new(&id("two"), &bad)]).await.unwrap();
    assert_eq!(outcome, SubmitOutcome::NoDependency { index: 1, job: "nobody".to_owned() });
    let outcome = send(&world, &[NewJob::new(&id("one"), &good), NewJob::new(&id("two"), &huge)]).await.unwrap();
    assert!(matches!(outcome, SubmitOutcome::Unserved { index: 1, .. }), "{outcome:?}");
    assert!(GetJob { job: &id("one") }.run(&world.pool()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_retry_gives_a_new_budget_and_leaves_what_has_not_failed() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let (id, _) = world.bound(&SubmitJob { max_attempts: 1, ..process() }).await;
    let lease = world.claim(&agent, 1).await.remove(0);
    let retry = async || RetryJob { job: &id }.run(&world.pool()).await.unwrap();
    assert_eq!(retry().await, RetryOutcome::Done(JobState::Running));
    world.report(&agent, &lease, failed(3)).await;
    world.claim(&agent, 0).await;
    assert_eq!(retry().await, RetryOutcome::Done(JobState::Pending));
    assert_eq!(retry().await, RetryOutcome::Done(JobState::Pending));
    let waiting = world.job(&id).await;
    assert_eq!((waiting.reason, waiting.ended_at, waiting.failures.len()), (None, None, 1));
    let lease = world.claim(&agent, 1).await.remove(0);
    assert_eq!(lease.attempt, 2);
    let result = Some(serde_json::json!({ "loss": 0.25 }));
    world.report(&agent, &lease, Happening::Completed { result: result.clone(), message: None, usage: None }).await;
    assert_eq!(retry().await, RetryOutcome::Completed);
    assert_eq!(world.job(&id).await.result, result);
}

#[tokio::test]
async fn of_too_many_ended_jobs_and_of_too_much_output_the_oldest_are_forgotten() {
    let settings = PoolSettings { job_retention_max: 3, output_budget_bytes: 100_000, ..PoolSettings::default() };
    let world = World::with(settings).await;
    let ids: Vec<_> = (0..5).map(|i| id(&format!("ended-{i}"))).collect();
    for id in &ids {
        accepted(&world, &[NewJob::new(id, &unserved())]).await;
        CancelJob { job: id }.run(&world.pool()).await.unwrap();
        world.pass_ms(10);
    }
    world.sweep().await;
    let kept = async || {
        let all = ListJobs { state: None, agent: None, label: None, after: None, limit: 100 };
        all.run(&world.pool()).await.unwrap().jobs.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(kept().await, [ids[4].clone(), ids[3].clone(), ids[2].clone()]);
    let agent = world.parked("a", &facts()).await;
    for _ in 0..3 {
        world.submit(&process()).await;
        let lease = world.claim(&agent, 1).await.remove(0);
        let data = "x".repeat(60_000);
        let text = Happening::Output { offset: 0, stream: Stream::Stdout, data, encoding: Encoding::Utf8 };
        world.report(&agent, &lease, text).await;
        world.report(&agent, &lease, Happening::Completed { result: None, message: None, usage: None }).await;
        world.pass_ms(10);
    }
    world.sweep().await;
    let mut written = Vec::new();
    for id in kept().await {
        written.push(world.job(&id).await.output_bytes);
    }
    assert_eq!(written, [60_000, 0, 0], "one output of 60,000 bytes fits into 100,000, and the jobs stay");
}

#[tokio::test]
async fn an_attempt_that_is_kept_outlives_its_lease_by_its_grace() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let kept = SubmitJob { on_disconnect: OnDisconnect::Keep, disconnect_grace_ms: 300_000, ..process() };
    let (id, _) = world.bound(&kept).await;
    let lease = world.claim(&agent, 1).await.remove(0);
    assert_eq!(lease.disconnect_grace_ms, 300_000, "the agent knows of it");
    let other = world.parked("other", &facts()).await;
    world.pass_with_beats_ms(200_000, &[&other]).await;
    assert_eq!(world.state(&id).await, JobState::Running);
    world.report(&agent, &lease, Happening::Completed { result: None, message: None, usage: None }).await;
    assert_eq!(world.state(&id).await, JobState::Completed);
}

#[tokio::test]
async fn an_agent_is_not_forgotten_as_long_as_what_it_has_may_go_on() {
    let settings = PoolSettings { agent_retention_ms: 60_000, ..PoolSettings::default() };
    let kept = SubmitJob { on_disconnect: OnDisconnect::Keep, disconnect_grace_ms: 600_000, ..process() };
    for comes_back in [true, false] {
        let world = World::with(settings).await;
        let agent = world.parked("a", &facts()).await;
        let (id, _) = world.bound(&kept).await;
        let lease = held(&world.claim(&agent, 1).await[0]);
        let other = world.register("other", &facts()).await;
        world.pass_with_beats_ms(500_000, &[&other]).await;
        if comes_back {
            let again = world.register_run("a", "again", &facts(), &[lease]).await;
            assert_eq!((world.agent(&again).await.live_attempts, world.job(&id).await.attempt), (1, 1));
            continue;
        }
        world.pass_with_beats_ms(400_000, &[&other]).await;
        assert_eq!(world.state(&id).await, JobState::Pending, "it goes elsewhere when its time is over");
        let found = titan_lua::agents::GetAgent { agent: &agent.id }.run(&world.pool()).await.unwrap();
        assert!(found.is_none(), "and then the agent is forgotten");
    }
}

#[tokio::test]
async fn a_kept_attempt_that_is_cancelled_has_its_room_for_as_long_as_it_may_go_on() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let kept = SubmitJob { on_disconnect: OnDisconnect::Keep, disconnect_grace_ms: 300_000, ..process() };
    let (id, _) = world.bound(&kept).await;
    world.claim(&agent, 1).await.remove(0);
    CancelJob { job: &id }.run(&world.pool()).await.unwrap();
    let other = world.parked("other", &facts()).await;
    for (ms, attempts) in [(200_000, 1), (200_000, 0)] {
        world.pass_with_beats_ms(ms, &[&other]).await;
        assert_eq!(world.agent(&agent).await.live_attempts, attempts);
    }
}

#[tokio::test]
async fn jobs_are_found_by_label() {
    let world = World::new().await;
    let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    };
    let specs = [labels(&[("run", "7"), ("team", "a\"b")]), labels(&[("run", "77")]), labels(&[])];
    for (i, labels) in specs.iter().enumerate() {
        let spec = SubmitJob { labels: labels.clone(), ..unserved() };
        accepted(&world, &[NewJob::new(&id(&format!("labelled-{i}")), &spec)]).await;
    }
    let found = async |label| {
        let list = ListJobs { state: None, agent: None, label: Some(label), after: None, limit: 10 };
        let page = list.run(&world.pool()).await.unwrap();
        page.jobs.into_iter().map(|job| (job.id.to_string(), job.labels)).collect::<Vec<_>>()
    };
    assert_eq!(found(("run", "7")).await, [("labelled-0".to_owned(), specs[0].clone())]);
    assert_eq!(found(("team", "a\"b")).await.len(), 1);
    assert_eq!(found(("run", "8")).await, []);
}
