//! Submissions at the same time: they share runs of the script, and none hears of what is wrong with another.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use titan_api::{ids::JobId, jobs::SubmitJob, status::JobCounts};
use titan_lua::{
    Pool,
    jobs::{GetJob, NewJob, Submit, SubmitOutcome},
    pool::ReadStatus,
};

use super::world::{World, facts, process, with_gpus};

/// Submits jobs at once, each for an owner of its own call.
async fn at_once(pool: &Pool, jobs: Vec<(String, &'static str, SubmitJob)>) -> Vec<SubmitOutcome> {
    let calls = jobs.into_iter().map(|(id, owner, spec)| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let id = JobId::new(id).unwrap();
            Submit { jobs: &[NewJob::new(&id, &spec)], owner, explain: false }.run(&pool).await.unwrap()
        })
    });
    join_all(calls).await.into_iter().map(Result::unwrap).collect()
}

async fn counts(world: &World) -> JobCounts {
    ReadStatus.run(&world.pool()).await.unwrap().1
}

#[tokio::test]
async fn many_submissions_take_few_runs_and_each_hears_of_its_own_job() {
    let world = World::new().await;
    world.parked("a", &facts()).await;
    world.submit(&process()).await;
    let before = world.redis.command_counts().await;
    let jobs = (0..200).map(|i| (format!("job-{i}"), if i % 2 == 0 { "even" } else { "odd" }, process()));
    let outcomes = at_once(&world.pool(), jobs.collect()).await;
    let runs = world.redis.command_counts().await.since(&before).scripts().calls;
    assert!(runs < 40, "{runs} runs for 200 jobs");
    for (i, outcome) in outcomes.iter().enumerate() {
        let SubmitOutcome::Submitted { jobs, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(jobs[0].id.as_str(), format!("job-{i}"));
        let job = GetJob { job: &jobs[0].id }.run(&world.pool()).await.unwrap().unwrap();
        assert_eq!(job.submitted_by, if i % 2 == 0 { "even" } else { "odd" });
    }
}

#[tokio::test]
async fn a_job_that_nobody_could_run_is_refused_alone() {
    let world = World::new().await;
    world.parked("a", &with_gpus(&[24_576])).await;
    let large = SubmitJob {
        requirements: titan_api::jobs::Requirements { gpus: 1, vram_mb: 80_000, ..process().requirements },
        allow_unserved: false,
        ..process()
    };
    let small = SubmitJob { allow_unserved: false, ..process() };
    let jobs = (0..64).map(|i| (format!("job-{i}"), "test", if i % 16 == 7 { large.clone() } else { small.clone() }));
    let outcomes = at_once(&world.pool(), jobs.collect()).await;
    let refused: BTreeSet<usize> =
        (0..64).filter(|i| !matches!(outcomes[*i], SubmitOutcome::Submitted { .. })).collect();
    assert_eq!(refused, BTreeSet::from([7, 23, 39, 55]));
    let counts = counts(&world).await;
    assert_eq!(counts.scheduled + counts.pending, 60);
}

#[tokio::test]
async fn a_caller_that_goes_away_holds_up_nobody() {
    let world = World::new().await;
    world.parked("a", &facts()).await;
    let pool = world.pool();
    let calls: Vec<_> = (0..64)
        .map(|i| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let (id, spec) = (JobId::new(format!("gone-{i}")).unwrap(), process());
                Submit { jobs: &[NewJob::new(&id, &spec)], owner: "test", explain: false }.run(&pool).await
            })
        })
        .collect();
    tokio::task::yield_now().await;
    for call in calls.iter().step_by(2) {
        call.abort();
    }
    for call in calls.into_iter().skip(1).step_by(2) {
        call.await.unwrap().unwrap();
    }
    // Of the others some were sent, and nothing is left of their runs.
    let (id, _) = world.submit(&process()).await;
    assert!(GetJob { job: &id }.run(&world.pool()).await.unwrap().is_some());
    let counts = counts(&world).await;
    assert!(counts.scheduled + counts.pending >= 33);
}
