//! Stories that once showed that the store, or the model of it, was wrong.

use proptest::test_runner::TestCaseError;
use titan_api::scheduler::Profile;
use titan_tests::redis::RedisServer;

use super::{
    Teller,
    conditions::Condition,
    steps::{Case, Event, Keep, Number, Run, Step, Which},
};

async fn tell(steps: &[Step]) {
    tell_keeping(Keep::Usual, steps).await;
}

async fn tell_keeping(keep: Keep, steps: &[Step]) {
    let redis = RedisServer::start().await;
    let case = Case { profile: Profile::Balanced, keep, steps: steps.to_vec() };
    let told = Teller::new(&redis.url()).tell(&case).await;
    told.map_err(TestCaseError::fail).unwrap();
}

fn submit(need: usize, priority: i32) -> Step {
    Step::Submit { need, priority, max_attempts: 2, allow_unserved: true, owner: 0 }
}

/// All boxes send a heartbeat and park.
const ROUND: Step = Step::Rounds { times: 1, ms: 0, silent: 0 };
/// The box that is alone in having one slot.
const SMALL: usize = 4;

fn claim(agent: usize, number: Number) -> Step {
    Step::Claim { agent, number, slots: 4, reach_ms: 20_000, is_lost: false, measures: None }
}

fn take_over(agent: usize) -> Step {
    Step::Register { agent, run: Run::New { kept: u8::MAX, is_smaller: false } }
}

#[tokio::test]
async fn a_job_that_an_agent_gives_back_is_placed_by_the_room_that_it_leaves() {
    // Need 6 fits the box with one slot and one with GPUs, which is busier.
    let back = Step::Report { agent: SMALL, reports: vec![(Which::Held(0), Event::Released)], next: None };
    tell(&[submit(3, 0), submit(6, 0), ROUND, back]).await;
}

#[tokio::test]
async fn what_says_when_output_came_counts_as_output_that_is_kept() {
    // The budget is 3,000 bytes: with the header alone all of it would be kept.
    let done = |event| Step::Report { agent: SMALL, reports: vec![(Which::Held(0), event)], next: None };
    let written = done(Event::Output { gap: 0, bytes: 2_992 });
    tell_keeping(Keep::LittleOutput, &[submit(6, 0), ROUND, written, done(Event::Completed), ROUND]).await;
}

#[tokio::test]
async fn a_class_whose_best_job_fits_nobody_does_not_go_ahead_of_others() {
    let drained = |draining| Step::Drain { agent: 2, draining };
    let alone = Step::Rounds { times: 1, ms: 0, silent: 0 };
    let others: Vec<_> = [0, 1, 3, 4].map(|agent| Step::Remove { agent }).into_iter().collect();
    let jobs = [submit(8, 7), submit(3, -5), submit(0, 0), submit(0, 0), submit(0, 0)];
    tell(&[&others[..], &[drained(true)], &jobs, &[drained(false), alone]].concat()).await;
}

#[tokio::test]
async fn a_taken_over_attempt_is_of_no_claim_of_the_new_run() {
    let again = [claim(2, Number::Next), claim(2, Number::Next), claim(2, Number::Same)];
    tell(&[&[submit(4, 0), ROUND, take_over(2)], &again[..], &[ROUND]].concat()).await;
}

#[tokio::test]
async fn a_job_is_cancelled_though_its_agent_was_removed_and_is_back() {
    let back = [Step::Remove { agent: 2 }, Step::Join { agent: 2 }];
    tell(&[&[submit(4, 0), ROUND], &back[..], &[Step::Cancel { job: 0 }]].concat()).await;
}

#[tokio::test]
async fn a_box_that_comes_back_smaller_with_what_it_runs_agrees_with_itself() {
    let smaller = Step::Register { agent: 3, run: Run::New { kept: u8::MAX, is_smaller: true } };
    tell(&[submit(5, 0), submit(5, 0), ROUND, smaller]).await;
}

#[tokio::test]
async fn every_new_kind_of_job_in_a_batch_is_found_its_agents() {
    // Two jobs without GPUs and two kinds with some, none of which was there before.
    tell(&[Step::Batch { key: 0, shape: 4 }, Step::Batch { key: 1, shape: 1 }]).await;
}

#[tokio::test]
async fn sweeping_ends_only_when_nothing_is_due() {
    // Box 2 parks with a job in its queue and falls silent; nothing else is due when its silence is.
    let silent = Step::Rounds { times: 3, ms: 10_000, silent: 0b00100 };
    let parks =
        Step::Claim { agent: 2, number: Number::Next, slots: 1, reach_ms: 40_000, is_lost: false, measures: None };
    tell(&[silent, parks, submit(4, 0), Step::Pass { ms: 10_000 }, Step::Pass { ms: 10_000 }]).await;
}

#[tokio::test]
async fn a_job_is_found_behind_many_of_its_class_that_fit_nobody() {
    // Twenty jobs that want much memory wait before one that wants none of it, and there is room for two of the twenty.
    let busy =
        |agent| Step::Claim { agent, number: Number::Next, slots: 0, reach_ms: 20_000, is_lost: false, measures: None };
    let first = Step::Submit { need: 0, priority: 0, max_attempts: 1, allow_unserved: false, owner: 0 };
    let fan = Step::Fan { of: 0, leaves: 20, need: 1, runs_anyway: true };
    let behind = Step::Order { key: 0, body: 1, need: 2, delay_ms: 0 };
    let anew = Step::Register { agent: SMALL, run: Run::New { kept: 0, is_smaller: false } };
    let rounds = Step::Rounds { times: 1, ms: 0, silent: 103 };
    tell(&[busy(0), busy(2), first, Step::Cancel { job: 0 }, busy(3), fan, anew, behind, rounds]).await;
}

/// A job that may be tried once, of a key that has the first turn.
fn submit_once(need: usize) -> Step {
    Step::Submit { need, priority: 0, max_attempts: 1, allow_unserved: false, owner: 0 }
}

#[tokio::test]
async fn a_class_that_nobody_used_for_long_is_one_of_the_things_that_a_call_settles() {
    // Five silent boxes, whether jobs were passed over, the class and an ended job are eight things: another ended job is left.
    let waits = |ms| Step::Wait { ms };
    let ended = [Step::Cancel { job: 8 }, Step::Pass { ms: 0 }, Step::Cancel { job: 0 }, Step::Pass { ms: 0 }];
    let jobs = [submit_once(0), waits(310_000), submit_once(0), submit_once(5)];
    tell(&[&jobs[..], &ended, &[waits(310_000), submit_once(0), Step::Pass { ms: 0 }]].concat()).await;
}

#[tokio::test]
async fn a_class_falls_due_in_the_middle_of_much_else() {
    let order = |key| Step::Order { key, body: 1, need: 0, delay_ms: 0 };
    let rounds = |times, ms, silent| Step::Rounds { times, ms, silent };
    let before = [submit_once(0), rounds(3, 10_000, 40), order(0), Step::Pass { ms: 310_000 }];
    let anew = [submit_once(0), submit_once(0), Step::Register { agent: 0, run: Run::Same }];
    let silence = [Step::Pass { ms: 310_000 }, Step::Pass { ms: 3_000 }, submit_once(0), order(1)];
    let fan = [Step::Fan { of: 54, leaves: 2, need: 0, runs_anyway: false }, rounds(2, 1_000, 0)];
    let again = [Step::Wait { ms: 1_000 }, Step::Retry { job: 0 }, rounds(1, 10_000, 0), rounds(4, 1_000, 0)];
    let back = [Step::Pass { ms: 0 }, submit_once(0), Step::Join { agent: 2 }, rounds(1, 10_000, 0)];
    tell(&[&before[..], &anew, &silence, &fan, &again, &back].concat()).await;
}

#[tokio::test]
async fn what_a_lost_run_held_goes_elsewhere_the_oldest_first() {
    let wish = Condition {
        need: 3,
        after: Vec::new(),
        runs_anyway: false,
        backoff_ms: 0,
        max_attempts: 1,
        delay_ms: 0,
        owner: 0,
    };
    tell(&[
        submit_once(5),
        Step::Rounds { times: 1, ms: 10000, silent: 40 },
        Step::Cancel { job: 0 },
        submit_once(0),
        submit_once(0),
        submit_once(3),
        Step::Order { key: 0, body: 1, need: 9, delay_ms: 0 },
        Step::Wish(wish),
        Step::Cancel { job: 27 },
        Step::Rounds { times: 1, ms: 0, silent: 20 },
        Step::Join { agent: 2 },
        Step::Remove { agent: 0 },
        submit_once(0),
    ])
    .await;
}
