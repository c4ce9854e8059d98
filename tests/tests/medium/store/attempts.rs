//! A job's way from submission to its end.

use titan_api::{
    agents::Facts,
    jobs::{JobState, Reason},
    work::{Answer, Happening},
};
use titan_lua::{PoolSettings, agents::ClaimOutcome, jobs::CancelJob};

use super::world::{World, facts, held, on_gpus, process, with_gpus};

fn exits_with(code: i32) -> Happening {
    Happening::Failed { reason: Reason::ExitCode, exit_code: Some(code), signal: None, message: None }
}

#[tokio::test]
async fn a_job_is_bound_claimed_and_completed() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let (id, bound_to) = world.bound(&process()).await;
    assert_eq!(bound_to, agent.id);
    let leases = world.claim(&agent, 4).await;
    assert_eq!(leases.len(), 1);
    assert_eq!(leases[0].process.command, ["true"]);
    assert_eq!(world.report(&agent, &leases[0], Happening::Started {}).await, Answer::Accepted {});
    assert_eq!(world.state(&id).await, JobState::Running);
    assert_eq!(
        world.report(&agent, &leases[0], Happening::Completed { result: None, message: None, usage: None }).await,
        Answer::Accepted {}
    );
    let job = world.job(&id).await;
    assert_eq!((job.state, job.attempt, job.exit_code), (JobState::Completed, 1, Some(0)));
    assert_eq!(world.agent(&agent).await.live_attempts, 0);
}

#[tokio::test]
async fn a_job_waits_until_an_agent_calls_and_then_goes_with_that_call() {
    let world = World::new().await;
    let agent = world.register("a", &facts()).await;
    let id = world.pending(&process()).await;
    let leases = world.claim(&agent, 1).await;
    assert_eq!(leases[0].job_id, id);
}

#[tokio::test]
async fn jobs_wait_in_the_order_of_priority_and_then_of_age() {
    let world = World::new().await;
    let agent = world.register("a", &facts()).await;
    let old = world.pending(&process()).await;
    let young = world.pending(&process()).await;
    let urgent = world.pending(&titan_api::jobs::SubmitJob { priority: 5, ..process() }).await;
    for expected in [urgent, old, young] {
        let lease = world.claim(&agent, 1).await.remove(0);
        assert_eq!(lease.job_id, expected);
        world.report(&agent, &lease, Happening::Completed { result: None, message: None, usage: None }).await;
    }
}

#[tokio::test]
async fn a_repeated_claim_gets_the_same_leases_and_a_lower_one_nothing() {
    let world = World::new().await;
    let agent = world.register("a", &facts()).await;
    world.pending(&process()).await;
    let ClaimOutcome::Claimed(first) = world.claim_as(&agent, 7, 4).await else { panic!() };
    assert_eq!(first.leases.len(), 1);
    world.bound(&process()).await;
    let ClaimOutcome::Claimed(again) = world.claim_as(&agent, 7, 4).await else { panic!() };
    assert_eq!(first.leases, again.leases);
    let ClaimOutcome::Claimed(lower) = world.claim_as(&agent, 6, 4).await else { panic!() };
    assert!(lower.leases.is_empty());
}

#[tokio::test]
async fn each_job_of_a_claim_has_a_lease_of_its_own() {
    let world = World::new().await;
    let agent = world.register("a", &facts()).await;
    for _ in 0..3 {
        world.pending(&process()).await;
    }
    let leases = world.claim(&agent, 4).await;
    let ids: std::collections::BTreeSet<_> = leases.iter().map(|lease| &lease.lease_id).collect();
    assert_eq!((leases.len(), ids.len()), (3, 3));
}

#[tokio::test]
async fn a_lease_that_the_agent_never_heard_of_goes_back_and_costs_no_attempt() {
    let world = World::new().await;
    let agent = world.register("a", &facts()).await;
    let id = world.pending(&process()).await;
    let lost = world.claim(&agent, 1).await.remove(0);
    let heard = world.beat(&agent, &[]).await;
    assert!(heard.stop.is_empty());
    assert_eq!(world.state(&id).await, JobState::Pending);
    let lease = world.claim(&agent, 1).await.remove(0);
    assert_eq!((lease.attempt, lease.job_id.clone()), (2, lost.job_id.clone()));
    assert_eq!(
        world.report(&agent, &lost, Happening::Completed { result: None, message: None, usage: None }).await,
        Answer::StaleAttempt {}
    );
    assert!(world.job(&id).await.failures.is_empty());
}

#[tokio::test]
async fn a_lease_from_a_claim_whose_reply_is_on_its_way_stays() {
    let world = World::new().await;
    let agent = world.register("a", &facts()).await;
    let id = world.pending(&process()).await;
    world.claim(&agent, 1).await;
    world.beat_with(&agent, 0, &[], &titan_api::agents::Measures::default()).await;
    assert_eq!(world.state(&id).await, JobState::Running);
}

#[tokio::test]
async fn a_lost_lease_goes_to_the_other_agent_once_its_processes_must_be_gone() {
    let world = World::new().await;
    let dead = world.parked("dead", &facts()).await;
    let (id, _) = world.bound(&process()).await;
    let lost = world.claim(&dead, 1).await.remove(0);
    let other = world.parked("other", &facts()).await;
    world.pass_with_beats_ms(60_000, &[&other]).await;
    assert_eq!(world.state(&id).await, JobState::Running);
    world.pass_with_beats_ms(10_000, &[&other]).await;
    let lease = world.claim(&other, 1).await.remove(0);
    assert_eq!((lease.job_id.clone(), lease.attempt), (id.clone(), 2));
    assert_eq!(
        world.report(&dead, &lost, Happening::Completed { result: None, message: None, usage: None }).await,
        Answer::StaleAttempt {}
    );
    let job = world.job(&id).await;
    assert_eq!(job.failures.len(), 1);
    assert_eq!((job.failures[0].reason, job.failures[0].attempt), (Reason::LeaseLost, 1));
}

#[tokio::test]
async fn renewed_leases_last() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let (id, _) = world.bound(&process()).await;
    let lease = world.claim(&agent, 1).await.remove(0);
    for _ in 0..30 {
        world.pass_ms(10_000);
        assert!(world.beat(&agent, &[held(&lease)]).await.stop.is_empty());
    }
    assert_eq!(world.state(&id).await, JobState::Running);
    assert_eq!(
        world.report(&agent, &lease, Happening::Completed { result: None, message: None, usage: None }).await,
        Answer::Accepted {}
    );
}

#[tokio::test]
async fn a_job_that_is_not_claimed_in_time_goes_elsewhere_and_costs_no_attempt() {
    let world = World::new().await;
    let deaf = world.parked("deaf", &facts()).await;
    let (id, _) = world.bound(&process()).await;
    let other = world.parked("other", &facts()).await;
    world.pass_ms(5_000);
    world.sweep().await;
    let lease = world.claim(&other, 4).await.remove(0);
    assert_eq!((lease.job_id, lease.attempt), (id, 1));
    let (_, next) = world.bound(&process()).await;
    assert_eq!(next, other.id, "an agent that did not come for its job is not asked again before it calls");
    assert_eq!(world.agent(&deaf).await.live_attempts, 0);
}

#[tokio::test]
async fn a_failing_job_is_tried_elsewhere_until_its_attempts_are_used_up() {
    let world = World::new().await;
    let one = world.parked("one", &facts()).await;
    let two = world.parked("two", &facts()).await;
    let (id, _) = world.bound(&process()).await;
    let mut ran_on = Vec::new();
    for _ in 0..3 {
        let job = world.job(&id).await;
        let agent = if job.agent_id.as_ref() == Some(&one.id) { &one } else { &two };
        let lease = world.claim(agent, 1).await.remove(0);
        ran_on.push(agent.id.clone());
        world.report(agent, &lease, exits_with(3)).await;
        world.claim(agent, 4).await;
    }
    let job = world.job(&id).await;
    assert_eq!((job.state, job.attempt, job.exit_code), (JobState::Failed, 3, Some(3)));
    assert_ne!(ran_on[0], ran_on[1], "the second attempt avoids the agent of the first");
    assert_eq!(job.failures.len(), 3);
}

#[tokio::test]
async fn a_refused_job_never_comes_back_to_the_same_box() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let (id, _) = world.bound(&process()).await;
    let lease = world.claim(&agent, 4).await.remove(0);
    let refusal = Happening::Failed {
        reason: Reason::Refused,
        exit_code: None,
        signal: None,
        message: Some("only python is allowed here".into()),
    };
    world.report(&agent, &lease, refusal).await;
    assert_eq!(world.claim(&agent, 4).await, Vec::new());
    let job = world.job(&id).await;
    assert_eq!(job.state, JobState::Pending);
    assert_eq!(job.failures[0].message.as_deref(), Some("only python is allowed here"));
    let other = world.register("b", &facts()).await;
    assert_eq!(world.claim(&other, 1).await[0].attempt, 2);
}

#[tokio::test]
async fn a_report_that_is_repeated_gets_the_same_answer() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let (id, _) = world.bound(&process()).await;
    let lease = world.claim(&agent, 4).await.remove(0);
    for _ in 0..3 {
        assert_eq!(
            world.report(&agent, &lease, Happening::Completed { result: None, message: None, usage: None }).await,
            Answer::Accepted {}
        );
    }
    let late = exits_with(1);
    assert_eq!(world.report(&agent, &lease, late).await, Answer::Accepted {});
    assert_eq!(world.state(&id).await, JobState::Completed, "the first ending stays");
}

#[tokio::test]
async fn a_report_with_another_attempt_or_lease_changes_nothing() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let other = world.register("b", &facts()).await;
    let (id, _) = world.bound(&process()).await;
    let lease = world.claim(&agent, 4).await.remove(0);
    let mut wrong_attempt = held(&lease);
    wrong_attempt.attempt = 2;
    let mut wrong_lease = held(&lease);
    wrong_lease.lease_id = titan_api::ids::LeaseId::new("guess-1").unwrap();
    for (who, what) in [(&agent, wrong_attempt), (&agent, wrong_lease), (&other, held(&lease))] {
        assert_eq!(
            world.report_held(who, what, Happening::Completed { result: None, message: None, usage: None }).await,
            Answer::StaleAttempt {}
        );
    }
    assert_eq!(world.state(&id).await, JobState::Running);
}

#[tokio::test]
async fn a_pending_and_a_bound_job_are_cancelled_at_once() {
    let world = World::new().await;
    let agent = world.register("a", &facts()).await;
    let pending = world.pending(&process()).await;
    CancelJob { job: &pending }.run(&world.pool()).await.unwrap();
    assert_eq!(world.claim(&agent, 4).await, Vec::new());
    let (bound, _) = world.bound(&process()).await;
    CancelJob { job: &bound }.run(&world.pool()).await.unwrap();
    assert_eq!(world.claim(&agent, 4).await, Vec::new());
    for id in [pending, bound] {
        let job = world.job(&id).await;
        assert_eq!((job.state, job.cancelling, job.reason), (JobState::Cancelled, false, Some(Reason::Cancelled)));
    }
    assert_eq!(world.agent(&agent).await.live_attempts, 0);
}

#[tokio::test]
async fn a_running_job_is_cancelled_for_good_and_frees_its_slot_when_its_processes_are_gone() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let (id, _) = world.bound(&process()).await;
    let lease = world.claim(&agent, 4).await.remove(0);
    CancelJob { job: &id }.run(&world.pool()).await.unwrap();
    assert!(world.job(&id).await.cancelling);
    assert_eq!(world.agent(&agent).await.live_attempts, 1, "its processes still run");
    assert_eq!(world.beat(&agent, &[held(&lease)]).await.cancel, std::slice::from_ref(&id));
    assert_eq!(
        world.report(&agent, &lease, Happening::Completed { result: None, message: None, usage: None }).await,
        Answer::Accepted {}
    );
    let job = world.job(&id).await;
    assert_eq!((job.state, job.cancelling), (JobState::Cancelled, false));
    assert_eq!(world.agent(&agent).await.live_attempts, 0);
}

#[tokio::test]
async fn the_slot_of_a_cancelled_job_on_a_dead_agent_is_free_after_lease_and_grace() {
    let world = World::new().await;
    let dead = world.parked("dead", &facts()).await;
    let (id, _) = world.bound(&process()).await;
    world.claim(&dead, 4).await;
    let other = world.parked("other", &facts()).await;
    CancelJob { job: &id }.run(&world.pool()).await.unwrap();
    world.pass_with_beats_ms(80_000, &[&other]).await;
    let job = world.job(&id).await;
    assert_eq!((job.state, job.cancelling), (JobState::Cancelled, false));
    assert_eq!(world.agent(&dead).await.live_attempts, 0);
}

#[tokio::test]
async fn a_job_handed_back_before_it_began_costs_no_attempt() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let (id, _) = world.bound(&titan_api::jobs::SubmitJob { max_attempts: 1, ..process() }).await;
    let lease = world.claim(&agent, 4).await.remove(0);
    world.report(&agent, &lease, Happening::Released {}).await;
    let lease = world.claim(&agent, 4).await.remove(0);
    world.report(&agent, &lease, Happening::Started {}).await;
    world.report(&agent, &lease, Happening::Released {}).await;
    assert_eq!(world.state(&id).await, JobState::Failed, "this time it had begun");
}

#[tokio::test]
async fn an_ended_job_is_forgotten_with_all_that_belongs_to_it() {
    const RETENTION_MS: i64 = 60_000;
    let settings = PoolSettings { job_retention_ms: 50_000, ..PoolSettings::default() };
    let world = World::with(settings).await;
    let agent = world.parked("a", &facts()).await;
    let (id, _) = world.bound(&process()).await;
    CancelJob { job: &id }.run(&world.pool()).await.unwrap();
    // The class stays when its jobs are gone.
    world.pass_with_beats_ms(RETENTION_MS, &[&agent]).await;
    let before = world.redis.snapshot().await;
    let id = world.pending(&process()).await;
    let lease = world.claim(&agent, 4).await.remove(0);
    let text = Happening::Output {
        offset: 0,
        stream: titan_api::output::Stream::Stdout,
        data: "x".repeat(60_000),
        encoding: titan_api::output::Encoding::Utf8,
    };
    world.report(&agent, &lease, text).await;
    world.report(&agent, &lease, exits_with(1)).await;
    CancelJob { job: &id }.run(&world.pool()).await.unwrap();
    world.claim(&agent, 0).await;
    world.pass_with_beats_ms(RETENTION_MS, &[&agent]).await;
    let after = world.redis.snapshot().await;
    assert_eq!(before.0.keys().collect::<Vec<_>>(), after.0.keys().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_repeated_claim_renews_its_leases() {
    let world = World::new().await;
    let agent = world.register("a", &facts()).await;
    let id = world.pending(&process()).await;
    world.claim_as(&agent, 7, 1).await;
    for _ in 0..12 {
        world.pass_ms(10_000);
        world.claim_as(&agent, 7, 1).await;
    }
    world.sweep().await;
    assert_eq!(world.state(&id).await, JobState::Running);
}

#[tokio::test]
async fn a_job_whose_agent_was_removed_and_came_back_is_cancelled_whole() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let (id, _) = world.bound(&process()).await;
    world.claim(&agent, 1).await;
    titan_lua::agents::RemoveAgent { agent: &agent.id }.run(&world.pool()).await.unwrap();
    let join = titan_lua::agents::JoinAgent { agent: &agent.id, public_key: "new-key" };
    join.run(&world.pool()).await.unwrap();
    let facts = facts();
    let register = titan_lua::agents::RegisterAgent {
        agent: &agent.id,
        public_key: "new-key",
        instance_id: "second",
        facts: &facts,
        running: &[],
    };
    register.run(&world.pool()).await.unwrap();
    for _ in 0..2 {
        let outcome = CancelJob { job: &id }.run(&world.pool()).await.unwrap();
        let done = titan_lua::jobs::CancelOutcome::Done { state: JobState::Cancelled, cancelling: false };
        assert_eq!(outcome, done);
    }
}

#[tokio::test]
async fn what_cannot_be_settled_is_set_aside_and_keeps_nothing_else_from_it() {
    let world = World::new().await;
    let dead = world.parked("dead", &facts()).await;
    let (broken, _) = world.bound(&process()).await;
    let (other, _) = world.bound(&process()).await;
    world.claim(&dead, 4).await;
    let key = format!("titan:{{default}}:job:{broken}");
    let _: () =
        redis::cmd("SET").arg(key).arg("garbage").query_async(&mut world.redis.connection().await).await.unwrap();
    let alive = world.register("alive", &facts()).await;
    world.pass_with_beats_ms(90_000, &[&alive]).await;
    assert_eq!(world.state(&other).await, JobState::Pending);
    assert_eq!(world.claim(&alive, 1).await[0].job_id, other);
}

#[tokio::test]
async fn one_line_that_cannot_be_written_keeps_no_other_from_it() {
    let world = World::new().await;
    let agent = world.register("a", &Facts { max_jobs: 2, ..with_gpus(&[24_576]) }).await;
    let mut jobs = Vec::new();
    for spec in [process(), on_gpus(1, 100), process(), on_gpus(1, 100)] {
        jobs.push(world.pending(&spec).await);
    }
    let mut redis = world.redis.connection().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("titan:{default}:pending:*").query_async(&mut redis).await.unwrap();
    assert_eq!(keys.len(), 2);
    // The agent parks a claim without being filled by that.
    let waiting = "titan:{default}:waiting";
    let () = redis::cmd("RENAME").arg(waiting).arg("aside").query_async(&mut redis).await.unwrap();
    assert!(world.claim(&agent, 2).await.is_empty());
    let () = redis::cmd("RENAME").arg("aside").arg(waiting).query_async(&mut redis).await.unwrap();
    for key in &keys {
        let tags = key.replace(":pending:", ":tags:");
        let () = redis::cmd("SET").arg(tags).arg("garbage").query_async(&mut redis).await.unwrap();
    }
    let room = format!("room:{}", agent.id);
    let () = redis::cmd("ZADD").arg("titan:{default}:due").arg(0).arg(room).query_async(&mut redis).await.unwrap();
    world.sweep().await;
    let mut bound = 0;
    for job in &jobs {
        if world.state(job).await == JobState::Scheduled {
            bound += 1;
            for key in &keys {
                let order: Option<f64> =
                    redis::cmd("ZSCORE").arg(key).arg(job.as_str()).query_async(&mut redis).await.unwrap();
                assert_eq!(order, None, "{job} is bound, and waits in {key}");
            }
        }
    }
    assert_eq!(bound, 2);
}
