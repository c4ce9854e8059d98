//! Tickets whose way was cut off in the middle: a call that was carried out while its answer was lost, and what is kept for
//! nobody.

use titan_lua::tickets as t;

use super::{
    tickets::{bring, issue},
    trials::reachable,
    *,
};

/// Two agents that clients can reach, the first with a ticket.
async fn two_and_a_ticket(world: &World) -> (Box_, Box_, JobId) {
    let llama = [model("llama", 4)];
    let [a, b] = [world.register("a", &reachable(&llama)).await, world.register("b", &reachable(&llama)).await];
    for agent in [&a, &b] {
        world.claim_both(agent, 0, 8).await;
    }
    let id = JobId::new("ticket").unwrap();
    let outcome = issue(world, &id).await;
    let t::IssueOutcome::Issued(issued) = outcome else { panic!("{outcome:?}") };
    if issued.agent == a.id { (a, b, id) } else { (b, a, id) }
}

pub(super) async fn a_repeat_gets_the_same_place(world: World) {
    let (its, other, id) = two_and_a_ticket(&world).await;
    for _ in 0..4 {
        let again = issue(&world, &id).await;
        assert!(matches!(&again, t::IssueOutcome::Issued(issued) if issued.agent == its.id), "{again:?}");
    }
    assert_eq!((world.agent(&its).await.live_attempts, world.agent(&other).await.live_attempts), (1, 0));
    assert!(matches!(issue(&world, &JobId::new("second").unwrap()).await, t::IssueOutcome::Issued(_)), "one of two");
    assert_eq!(findings(&world.pool()).await, []);
}

pub(super) async fn what_is_kept_for_nobody_is_freed(world: World) {
    let (its, other, id) = two_and_a_ticket(&world).await;
    let mut redis = world.redis.connection().await;
    let live = |agent: &Box_| format!("titan:{{default}}:live:{}", agent.id);
    let kept: Vec<u8> = redis::cmd("HGET").arg(live(&its)).arg(id.as_str()).query_async(&mut redis).await.unwrap();
    for (agent, job) in [(&its, "gone"), (&other, "gone"), (&other, id.as_str())] {
        let () = redis::cmd("HSET").arg(live(agent)).arg(job).arg(&kept).query_async(&mut redis).await.unwrap();
    }
    for (agent, left) in [(&its, 1), (&other, 0)] {
        assert_eq!(world.claim_both(agent, 0, 8).await, []);
        world.beat(agent, &[]).await;
        assert_eq!(world.agent(agent).await.live_attempts, left, "{}", agent.id);
    }
    assert!(matches!(bring(&world, &its, &id).await, t::UseOutcome::Leased(_)));
    assert_eq!(findings(&world.pool()).await, []);
}

pub(super) async fn a_use_that_the_agent_never_heard_of_is_taken_back(world: World) {
    let (agent, _, id) = two_and_a_ticket(&world).await;
    assert!(matches!(bring(&world, &agent, &id).await, t::UseOutcome::Leased(_)));
    world.pass_with_beats_ms(20_000, &[&agent]).await;
    assert_eq!(world.state(&id).await, JobState::Running, "its heartbeats may have been on their way");
    world.pass_with_beats_ms(10_000, &[&agent]).await;
    assert_eq!(world.job(&id).await.reason, Some(Reason::LeaseLost));
    let told = world.agent(&agent).await;
    assert_eq!((told.live_attempts, told.breaker.failures), (0, 0));
    assert_eq!(findings(&world.pool()).await, []);
}

pub(super) async fn an_agent_counts_from_the_repeat(world: World) {
    let (agent, other, id) = two_and_a_ticket(&world).await;
    let used = bring(&world, &agent, &id).await;
    world.pass_with_beats_ms(30_000, &[&other]).await;
    assert_eq!(bring(&world, &agent, &id).await, used);
    world.pass_with_beats_ms(60_000, &[&other]).await;
    let t::UseOutcome::Leased(used) = used else { panic!("{used:?}") };
    let lease = HeldLease { job_id: id, attempt: used.attempt, lease_id: used.lease_id };
    assert_eq!(world.report_held(&agent, lease, answered(1, 1)).await, Answer::Accepted {});
}

#[tokio::test]
async fn a_ticket_whose_answer_was_lost_is_the_same_when_it_is_asked_for_again() {
    a_repeat_gets_the_same_place(World::new().await).await;
}

#[tokio::test]
async fn a_place_that_is_kept_for_a_job_that_is_gone_or_elsewhere_is_free_again() {
    what_is_kept_for_nobody_is_freed(World::new().await).await;
}

#[tokio::test]
async fn an_attempt_of_which_the_agent_never_heard_is_taken_back_and_is_nobodys_fault() {
    a_use_that_the_agent_never_heard_of_is_taken_back(World::new().await).await;
}

#[tokio::test]
async fn a_use_that_is_repeated_renews_the_lease() {
    an_agent_counts_from_the_repeat(World::new().await).await;
}
