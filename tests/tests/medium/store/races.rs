//! Sixty-four tasks at once, and faults of Redis in between.

use std::{collections::HashSet, time::Duration};

use futures_util::future::join_all;
use titan_api::{ids::JobId, jobs::JobState, work::Happening};
use titan_lua::{
    StoreError,
    jobs::{CancelJob, NewJob, Submit, SubmitOutcome},
    pool::ReadStatus,
    watch::Topic,
};

use titan_tests::wait::PATIENCE;

use super::world::{World, facts, held, on_gpus, process, with_gpus};

#[tokio::test]
async fn of_sixty_four_submissions_for_one_gpu_one_is_bound() {
    let world = World::new().await;
    world.parked("a", &with_gpus(&[24_576])).await;
    let pool = world.pool();
    let submissions = (0..64).map(|i| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let id = JobId::new(format!("race-{i}")).unwrap();
            let spec = on_gpus(1, 20_000);
            Submit { jobs: &[NewJob::new(&id, &spec)], owner: "test", explain: false }.run(&pool).await.unwrap()
        })
    });
    let outcomes = join_all(submissions).await;
    let bound = outcomes
        .iter()
        .filter(|o| matches!(o.as_ref().unwrap(), SubmitOutcome::Submitted { jobs, .. } if jobs[0].agent.is_some()))
        .count();
    assert_eq!(bound, 1);
}

#[tokio::test]
async fn one_submission_sent_sixty_four_times_is_one_job() {
    let world = World::new().await;
    world.parked("a", &facts()).await;
    let pool = world.pool();
    let id = JobId::new("the-one").unwrap();
    let submissions = (0..64).map(|_| {
        let (pool, id) = (pool.clone(), id.clone());
        tokio::spawn(async move {
            let spec = process();
            Submit { jobs: &[NewJob::new(&id, &spec)], owner: "test", explain: false }.run(&pool).await.unwrap()
        })
    });
    join_all(submissions).await;
    let (_, jobs, _) = ReadStatus.run(&world.pool()).await.unwrap();
    assert_eq!((jobs.scheduled, jobs.pending), (1, 0));
}

#[tokio::test]
async fn sixty_four_ends_and_cancellations_of_one_job_end_it_once() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let (id, _) = world.bound(&process()).await;
    let lease = world.claim(&agent, 1).await.remove(0);
    let racers = (0..64).map(async |i| {
        if i % 2 == 0 {
            CancelJob { job: &id }.run(&world.pool()).await.unwrap();
        } else {
            world
                .report_held(&agent, held(&lease), Happening::Completed { result: None, message: None, usage: None })
                .await;
        }
    });
    join_all(racers).await;
    let job = world.job(&id).await;
    assert!(matches!(job.state, JobState::Completed | JobState::Cancelled) && !job.cancelling, "{job:?}");
    assert_eq!(world.agent(&agent).await.live_attempts, 0);
    let (_, jobs, _) = ReadStatus.run(&world.pool()).await.unwrap();
    assert_eq!((jobs.running, jobs.ended), (0, 1));
}

#[tokio::test]
async fn no_job_is_claimed_twice_by_agents_that_claim_at_once() {
    let world = World::new().await;
    let mut agents = Vec::new();
    for i in 0..8 {
        agents.push(world.register(&format!("agent-{i}"), &facts()).await);
    }
    for _ in 0..24 {
        world.pending(&process()).await;
    }
    let claims = agents.iter().flat_map(|a| [a; 8]).map(|agent| world.claim(agent, 1));
    let leases = join_all(claims).await.concat();
    let distinct: HashSet<_> = leases.iter().map(|l| l.job_id.clone()).collect();
    assert_eq!((leases.len(), distinct.len()), (24, 24));
}

#[tokio::test]
async fn flushed_scripts_are_sent_again_unseen_by_callers() {
    let world = World::new().await;
    let agent = world.register("a", &facts()).await;
    for _ in 0..20 {
        let _: () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut world.redis.connection().await).await.unwrap();
        let id = world.pending(&process()).await;
        let lease = world.claim(&agent, 1).await.remove(0);
        assert_eq!(lease.job_id, id);
        world.report(&agent, &lease, Happening::Completed { result: None, message: None, usage: None }).await;
    }
}

/// Well below the time that an answer may take in tests; a machine without other work needs less than a second.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn while_redis_is_away_operations_fail_at_once_and_work_again_when_it_is_back() {
    let mut world = World::new().await;
    world.register("a", &facts()).await;
    world.redis.kill();
    for _ in 0..3 {
        let begun = std::time::Instant::now();
        let failed = ReadStatus.run(&world.pool()).await;
        assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    }
    world.redis.restart().await;
    let agent = world.register("a", &facts()).await;
    world.beat(&agent, &[]).await;
}

#[tokio::test]
async fn a_waiter_is_woken_by_its_agent_s_work_and_by_its_job_s_changes() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let mut for_agent = world.pool().watch(Topic::Agent(agent.id.clone())).await.unwrap();
    let (id, _) = world.bound(&process()).await;
    for_agent.changed().await;
    let mut for_job = world.pool().watch(Topic::Job(id.clone())).await.unwrap();
    let lease = world.claim(&agent, 1).await.remove(0);
    for_job.changed().await;
    world.report(&agent, &lease, Happening::Completed { result: None, message: None, usage: None }).await;
    for_job.changed().await;
}

#[tokio::test]
async fn waiters_are_woken_when_the_subscription_was_lost_and_is_back() {
    let mut world = World::new().await;
    let id = super::world::agent_id("a");
    let mut watch = world.pool().watch(Topic::Agent(id.clone())).await.unwrap();
    world.redis.restart().await;
    tokio::time::timeout(PATIENCE, watch.changed()).await.expect("woken");
    let agent = world.parked("a", &facts()).await;
    let mut again = world.pool().watch(Topic::Agent(agent.id.clone())).await.unwrap();
    world.bound(&process()).await;
    tokio::time::timeout(PATIENCE, again.changed()).await.expect("subscribed again");
}
