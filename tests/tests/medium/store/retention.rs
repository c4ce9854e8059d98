//! What is kept of ended jobs while something is in the way of forgetting.

use titan_api::{
    agents::Facts,
    ids::{JobId, PoolName},
    jobs::JobState,
    output::{Encoding, Stream},
    work::{Happening, HeldLease, Lease, Report},
};
use titan_lua::{
    PoolSettings,
    agents::{ReportBatch, ReportOutcome},
    jobs::{CancelJob, Idempotency, ListJobs, NewJob, Submit},
    pool::Sweep,
};
use titan_tests::{
    audit::findings,
    redis::{RedisServer, patient_store},
    rewriter::{Change, Rewriter},
};

use super::world::{Box_, World, facts, held, only, process};

fn little(output_budget_bytes: u64, job_retention_max: u64) -> PoolSettings {
    PoolSettings { output_budget_bytes, job_retention_max, ..PoolSettings::default() }
}

/// A job that runs and has written so much.
async fn writing(world: &World, agent: &Box_, bytes: usize) -> Lease {
    assert_eq!(world.claim(agent, 4).await, []);
    world.bound(&process()).await;
    let lease = world.claim(agent, 4).await.remove(0);
    let mut offset = 0;
    while offset < bytes {
        let data = "x".repeat((bytes - offset).min(60_000));
        let after = offset + data.len();
        let offset_then = u64::try_from(offset).unwrap();
        let text = Happening::Output { offset: offset_then, stream: Stream::Stdout, data, encoding: Encoding::Utf8 };
        world.report(agent, &lease, text).await;
        offset = after;
    }
    lease
}

async fn complete(world: &World, agent: &Box_, lease: &Lease) {
    world.report(agent, lease, Happening::Completed { result: None, message: None, usage: None }).await;
    world.pass_ms(10);
    world.sweep().await;
}

#[tokio::test]
async fn jobs_that_end_are_known_while_those_that_run_have_written_too_much() {
    let world = World::with(little(200_000, 100)).await;
    let agent = world.parked("a", &facts()).await;
    let running = writing(&world, &agent, 300_000).await;
    let (id, spec) = (JobId::new("once").unwrap(), process());
    let idempotency = Some(Idempotency { key: "hash".into(), body: "body".into() });
    let submit = async |id: &JobId| {
        let new = NewJob { idempotency: idempotency.clone(), ..NewJob::new(id, &spec) };
        let outcome = Submit { jobs: &[new], owner: "test", explain: false }.run(&world.pool()).await.unwrap();
        only(&outcome).id.clone()
    };
    submit(&id).await;
    let lease = world.claim(&agent, 4).await.remove(0);
    complete(&world, &agent, &lease).await;
    assert_eq!(world.state(&id).await, JobState::Completed);
    assert_eq!(submit(&JobId::new("twice").unwrap()).await, id);
    let written = writing(&world, &agent, 60_000).await;
    complete(&world, &agent, &written).await;
    assert_eq!(world.job(&written.job_id).await.output_bytes, 0, "it is the oldest that has ended and has any");
    complete(&world, &agent, &running).await;
    let ended = world.job(&running.job_id).await;
    assert_eq!((ended.state, ended.output_bytes), (JobState::Completed, 0));
    assert_eq!(findings(&world.pool()).await, []);
}

/// Two jobs that were cancelled and whose processes do not go away: every heartbeat lists them.
async fn lingering(world: &World, agent: &Box_) -> Vec<HeldLease> {
    let mut leases = Vec::new();
    for _ in 0..2 {
        let lease = writing(world, agent, 10).await;
        CancelJob { job: &lease.job_id }.run(&world.pool()).await.unwrap();
        world.pass_ms(10);
        leases.push(held(&lease));
    }
    leases
}

#[tokio::test]
async fn a_process_that_does_not_go_away_keeps_no_output_and_no_other_job() {
    let world = World::with(little(100_000, 3)).await;
    let agent = world.parked("a", &facts()).await;
    let listed = lingering(&world, &agent).await;
    for _ in 0..8 {
        let lease = writing(&world, &agent, 60_000).await;
        complete(&world, &agent, &lease).await;
        world.pass_ms(10_000);
        world.beat(&agent, &listed).await;
        world.sweep().await;
    }
    let list = ListJobs { state: None, agent: None, label: None, after: None, limit: 100 };
    let mut kept = Vec::new();
    for job in list.run(&world.pool()).await.unwrap().jobs {
        kept.push((job.state, world.job(&job.id).await.output_bytes));
    }
    assert_eq!(kept, [(JobState::Completed, 60_000), (JobState::Cancelled, 0), (JobState::Cancelled, 0)]);
    world.beat(&agent, &[]).await;
    let lease = writing(&world, &agent, 10).await;
    complete(&world, &agent, &lease).await;
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn output_that_belongs_to_nothing_keeps_no_other_from_being_forgotten() {
    let world = World::with(little(100_000, 100)).await;
    let agent = world.parked("a", &facts()).await;
    let mut redis = world.redis.connection().await;
    let () =
        redis::cmd("ZADD").arg("titan:{default}:outputs").arg(1).arg("ghost").query_async(&mut redis).await.unwrap();
    let mut jobs = Vec::new();
    for _ in 0..5 {
        let lease = writing(&world, &agent, 60_000).await;
        complete(&world, &agent, &lease).await;
        jobs.push(lease.job_id);
    }
    let mut kept = Vec::new();
    for id in &jobs {
        kept.push(world.job(id).await.output_bytes);
    }
    assert_eq!(kept, [0, 0, 0, 0, 60_000]);
}

fn for_five_minutes() -> PoolSettings {
    PoolSettings { job_retention_ms: 300_000, ..PoolSettings::default() }
}

/// A job that waits for an agent is cancelled.
async fn cancelled(world: &World) -> JobId {
    let job = world.pending(&process()).await;
    CancelJob { job: &job }.run(&world.pool()).await.unwrap();
    job
}

async fn known(world: &World) -> Vec<JobId> {
    let list = ListJobs { state: None, agent: None, label: None, after: None, limit: 100 };
    list.run(&world.pool()).await.unwrap().jobs.into_iter().map(|job| job.id).collect()
}

#[tokio::test]
async fn ended_jobs_fall_due_together() {
    let world = World::with(for_five_minutes()).await;
    let agent = world.register("a", &facts()).await;
    cancelled(&world).await;
    world.sweep().await;
    for _ in 1..70 {
        cancelled(&world).await;
    }
    let mut redis = world.redis.connection().await;
    let due: Vec<String> =
        redis::cmd("ZRANGE").arg("titan:{default}:due").arg(0).arg(-1).query_async(&mut redis).await.unwrap();
    assert!(due.iter().all(|member| !member.starts_with("job:")), "{due:?}");
    // As a list every change of it would walk through all that is live.
    let encoding: String =
        redis::cmd("OBJECT").arg("ENCODING").arg("titan:{default}:due").query_async(&mut redis).await.unwrap();
    assert_eq!(encoding, "skiplist");
    world.pass_with_beats_ms(290_000, &[&agent]).await;
    assert_eq!(known(&world).await.len(), 70);
    world.pass_with_beats_ms(10_000, &[&agent]).await;
    assert_eq!(known(&world).await, []);
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn jobs_that_are_to_be_kept_for_less_long_than_before_go_within_minutes() {
    let world = World::new().await;
    let agent = world.register("a", &facts()).await;
    cancelled(&world).await;
    world.sweep().await;
    let anew = patient_store(&world.redis.url(), for_five_minutes()).pool(&PoolName::default());
    Sweep.run(&anew.at(world.now_ms.get())).await.unwrap();
    world.pass_with_beats_ms(600_000, &[&agent]).await;
    assert_eq!(known(&world).await, []);
}

/// A pool in which the job with that id can't be forgotten.
async fn in_which_one_stays(settings: PoolSettings, id: &str) -> (World, Rewriter) {
    let redis = RedisServer::start().await;
    let begins = "function ending.forget(j)\n";
    let fails = format!("{begins}if j.id == '{id}' then error('it stays') end\n");
    let change = Change { find: begins.to_owned(), times: 1, replace: fails };
    let rewriter = Rewriter::to(&redis.address(), change).await;
    (World::on(redis, &patient_store(&rewriter.url(), settings)), rewriter)
}

#[tokio::test]
async fn a_job_that_can_not_be_forgotten_keeps_no_other_not_even_in_the_same_pass() {
    let (world, _rewriter) = in_which_one_stays(for_five_minutes(), "job-000002").await;
    let agent = world.parked("a", &facts()).await;
    for _ in 0..3 {
        let lease = writing(&world, &agent, 10).await;
        complete(&world, &agent, &lease).await;
    }
    world.pass_with_beats_ms(290_000, &[&agent]).await;
    assert_eq!(known(&world).await.len(), 3);
    world.pass_ms(10_000);
    world.beat(&agent, &[]).await;
    assert_eq!(known(&world).await, [JobId::new("job-000002").unwrap()]);
    assert!(findings(&world.pool()).await.iter().any(|finding| finding.wrong.contains("it stays")));
}

#[tokio::test]
async fn a_job_that_can_not_be_forgotten_is_in_the_way_of_no_other_that_is_too_much() {
    let (world, _rewriter) = in_which_one_stays(little(1_000_000, 2), "job-000001").await;
    let agent = world.parked("a", &facts()).await;
    for _ in 0..6 {
        let lease = writing(&world, &agent, 10).await;
        complete(&world, &agent, &lease).await;
        world.pass_ms(10);
        world.sweep().await;
    }
    assert!(known(&world).await.len() <= 2, "{:?}", known(&world).await);
}

/// As many jobs as one script takes end at once. Gives how many ended ones the pool keeps then.
async fn sixty_four_end(world: &World, agent: &Box_, round: usize, written: usize) -> u64 {
    let spec = process();
    let ids: Vec<_> = (0..64).map(|n| JobId::new(format!("job-{round:03}-{n:02}")).unwrap()).collect();
    let jobs: Vec<_> = ids.iter().map(|id| NewJob::new(id, &spec)).collect();
    for jobs in jobs.chunks(32) {
        Submit { jobs, owner: "test", explain: false }.run(&world.pool()).await.unwrap();
    }
    let leases = [world.claim(agent, 64).await, world.claim(agent, 64).await].concat();
    assert_eq!(leases.len(), 64);
    let data = "x".repeat(written);
    let text = Happening::Output { offset: 0, stream: Stream::Stdout, data, encoding: Encoding::Utf8 };
    let all_end = Happening::Completed { result: None, message: None, usage: None };
    for happening in [text, all_end] {
        let reports: Vec<_> = leases.iter().map(|lease| Report::new(held(lease), happening.clone())).collect();
        let call = ReportBatch { agent: &agent.id, epoch: agent.epoch, reports: &reports };
        assert!(matches!(call.run(&world.pool()).await.unwrap(), ReportOutcome::Reported(_)));
    }
    assert_eq!(world.claim(agent, 64).await, []);
    world.pass_ms(10);
    let mut redis = world.redis.connection().await;
    redis::cmd("ZCARD").arg("titan:{default}:ended").query_async(&mut redis).await.unwrap()
}

#[tokio::test]
async fn a_pool_forgets_as_fast_as_jobs_end_though_nobody_sweeps() {
    let world = World::with(little(1_000_000, 50)).await;
    let agent = world.parked("a", &Facts { max_jobs: 64, ..facts() }).await;
    for round in 0..12 {
        let kept = sixty_four_end(&world, &agent, round, 10).await;
        assert!(kept < 50 + 2 * 64, "{kept} are kept after {round} rounds");
    }
    world.sweep().await;
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn a_pool_forgets_output_as_fast_as_it_is_written_though_nobody_sweeps() {
    let world = World::with(little(1_000_000, 10_000)).await;
    let agent = world.parked("a", &Facts { max_jobs: 64, ..facts() }).await;
    for round in 0..12 {
        sixty_four_end(&world, &agent, round, 10_000).await;
        let mut redis = world.redis.connection().await;
        let with_output: u64 =
            redis::cmd("ZCARD").arg("titan:{default}:outputs").query_async(&mut redis).await.unwrap();
        assert!(with_output < 100 + 2 * 64, "{with_output} have output after {round} rounds");
    }
    world.sweep().await;
    assert_eq!(findings(&world.pool()).await, []);
}
