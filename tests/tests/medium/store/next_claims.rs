//! Reports that bring the next work in the same call.

use titan_api::{
    agents::Facts,
    jobs::{JobState, Reason},
    work::{Answer, Claim, Happening, HeldLease, Lease, Report},
};
use titan_lua::agents::{ClaimOutcome, NextClaim, ReportBatch, ReportOutcome, Reported, SetDraining};
use titan_tests::audit::findings;

use super::world::{Box_, World, facts, held, process};

const COMPLETED: Happening = Happening::Completed { result: None, message: None, usage: None };

fn with_slots(max_jobs: u32) -> Facts {
    Facts { max_jobs, ..facts() }
}

/// Reports these as completed, and claims so many jobs under this number.
async fn complete_and_claim(world: &World, agent: &Box_, done: &[Lease], claim: u64, free_slots: u32) -> Reported {
    let reports: Vec<_> = done.iter().map(|lease| Report::new(held(lease), COMPLETED)).collect();
    let batch = ReportBatch { agent: &agent.id, epoch: agent.epoch, reports: &reports };
    let next = NextClaim { claim: Claim { claim, free_slots, free_requests: 0 }, reachable_ms: 1_000 };
    match batch.run_and_claim(&world.pool(), next).await.unwrap() {
        ReportOutcome::Reported(reported) => Reported { leases: sorted(reported.leases), ..reported },
        ReportOutcome::TurnedAway(why) => panic!("{}: {why:?}", agent.id),
    }
}

/// An agent whose slots are all taken, what it runs, and so many jobs more that wait.
async fn full(world: &World, slots: u32, waiting: usize) -> (Box_, Vec<Lease>) {
    let agent = world.register("a", &with_slots(slots)).await;
    for _ in 0..slots as usize + waiting {
        world.pending(&process()).await;
    }
    let mut leases = Vec::new();
    while leases.len() < slots as usize {
        leases.extend(world.claim(&agent, slots - u32::try_from(leases.len()).unwrap()).await);
    }
    (agent, leases)
}

/// A repeated claim brings its leases in no certain order.
fn sorted(mut leases: Vec<Lease>) -> Vec<Lease> {
    leases.sort_by(|a, b| a.job_id.cmp(&b.job_id));
    leases
}

fn accepted(reported: &Reported) -> bool {
    reported.answers.iter().all(|answer| *answer == Answer::Accepted {})
}

#[tokio::test]
async fn the_slot_of_what_has_ended_is_filled_by_the_call_that_reports_it() {
    let world = World::new().await;
    let (agent, leases) = full(&world, 1, 2).await;
    let first = complete_and_claim(&world, &agent, &leases, agent.next_claim(), 1).await;
    assert!(accepted(&first));
    assert_eq!(first.leases.len(), 1);
    assert_eq!(world.state(&leases[0].job_id).await, JobState::Completed);
    assert_eq!(world.state(&first.leases[0].job_id).await, JobState::Running);
    let second = complete_and_claim(&world, &agent, &first.leases, agent.next_claim(), 1).await;
    assert_eq!(second.leases.len(), 1);
    assert_ne!(second.leases[0].job_id, first.leases[0].job_id);
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn a_report_and_claim_that_is_repeated_gets_the_same_leases_alone_or_with_the_reports() {
    let world = World::new().await;
    let (agent, leases) = full(&world, 2, 3).await;
    let number = agent.next_claim();
    let first = complete_and_claim(&world, &agent, &leases, number, 2).await;
    assert_eq!(first.leases.len(), 2);
    let again = complete_and_claim(&world, &agent, &leases, number, 2).await;
    assert!(accepted(&again));
    assert_eq!(again.leases, first.leases);
    let ClaimOutcome::Claimed(alone) = world.claim_as(&agent, number, 2).await else { panic!() };
    assert_eq!(sorted(alone.leases), first.leases);
    // And what a claim alone has brought comes again with reports.
    let next = complete_and_claim(&world, &agent, &first.leases, agent.next_claim(), 0).await;
    assert_eq!(next.leases, []);
    let number = agent.next_claim();
    let ClaimOutcome::Claimed(alone) = world.claim_as(&agent, number, 1).await else { panic!() };
    assert_eq!(alone.leases.len(), 1);
    assert_eq!(complete_and_claim(&world, &agent, &leases, number, 1).await.leases, alone.leases);
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn a_claim_that_was_overtaken_brings_nothing_and_leaves_the_room_to_the_newer_one() {
    let world = World::new().await;
    let (agent, leases) = full(&world, 2, 0).await;
    let late = agent.next_claim();
    // One slot is free again, and its claim waits.
    world.report(&agent, &leases[0], COMPLETED).await;
    assert_eq!(world.claim(&agent, 1).await, []);
    let waiting = [world.bound(&process()).await.0, world.pending(&process()).await];
    let reported = complete_and_claim(&world, &agent, &leases[1..], late, 1).await;
    assert!(accepted(&reported));
    assert_eq!(reported.leases, []);
    assert_eq!(world.state(&waiting[1]).await, JobState::Scheduled, "the parked claim takes both");
}

#[tokio::test]
async fn a_claim_that_brings_nothing_keeps_the_agent_at_hand_until_it_claims_again() {
    let world = World::new().await;
    let (agent, leases) = full(&world, 2, 0).await;
    assert_eq!(complete_and_claim(&world, &agent, &leases, agent.next_claim(), 2).await.leases, []);
    world.pass_ms(999);
    let (job, bound_to) = world.bound(&process()).await;
    assert_eq!(bound_to, agent.id);
    assert_eq!(world.claim(&agent, 2).await[0].job_id, job);
}

#[tokio::test]
async fn a_call_with_many_reports_claims_with_the_last_of_them_and_not_more_than_fits_in_a_run() {
    let world = World::new().await;
    let (agent, leases) = full(&world, 64, 64).await;
    let reported = complete_and_claim(&world, &agent, &leases, agent.next_claim(), 64).await;
    assert_eq!(reported.answers.len(), 64);
    assert!(accepted(&reported));
    assert_eq!(reported.leases.len(), 32);
    assert_eq!(world.agent(&agent).await.live_attempts, 32);
    let rest = complete_and_claim(&world, &agent, &[], agent.next_claim(), 32).await;
    assert_eq!((rest.answers.len(), rest.leases.len()), (0, 32));
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn a_draining_agent_reports_and_gets_nothing() {
    let world = World::new().await;
    let (agent, leases) = full(&world, 1, 1).await;
    SetDraining { agent: &agent.id, draining: true }.run(&world.pool()).await.unwrap();
    let reported = complete_and_claim(&world, &agent, &leases, agent.next_claim(), 1).await;
    assert!(accepted(&reported));
    assert_eq!(reported.leases, []);
}

#[tokio::test]
async fn a_job_that_its_agent_has_refused_does_not_come_back_with_the_claim_of_the_same_call() {
    let world = World::new().await;
    let (agent, leases) = full(&world, 1, 0).await;
    let failed =
        Happening::Failed { reason: Reason::Refused, exit_code: None, signal: None, message: Some("no".into()) };
    let reports = [Report::new(held(&leases[0]), failed)];
    let batch = ReportBatch { agent: &agent.id, epoch: agent.epoch, reports: &reports };
    let other = world.register("b", &with_slots(1)).await;
    assert_eq!(world.claim(&other, 1).await, []);
    let claim = Claim { claim: agent.next_claim(), free_slots: 1, free_requests: 0 };
    let outcome = batch.run_and_claim(&world.pool(), NextClaim { claim, reachable_ms: 1_000 }).await.unwrap();
    let ReportOutcome::Reported(reported) = outcome else { panic!("{outcome:?}") };
    assert_eq!(reported.leases, [], "it has refused the job, and another can take it");
    assert_eq!(world.claim(&other, 1).await[0].job_id, leases[0].job_id);
}

#[tokio::test]
async fn leases_of_a_reply_that_was_lost_go_back_once_the_agent_says_that_it_has_read_on() {
    let world = World::new().await;
    let (agent, leases) = full(&world, 1, 1).await;
    let number = agent.next_claim();
    let lost = complete_and_claim(&world, &agent, &leases, number, 1).await.leases.remove(0);
    let nothing: [HeldLease; 0] = [];
    world.beat_with(&agent, number - 1, &nothing, &titan_api::agents::Measures::default()).await;
    assert_eq!(world.state(&lost.job_id).await, JobState::Running, "its reply may be on its way");
    world.beat_with(&agent, number, &nothing, &titan_api::agents::Measures::default()).await;
    assert_eq!(world.state(&lost.job_id).await, JobState::Pending);
    assert_eq!(world.job(&lost.job_id).await.attempt, 1);
    assert_eq!(world.claim(&agent, 1).await[0].job_id, lost.job_id);
}
