//! The wrong scripts, and what shows that they are wrong, by what is wrong with them. Here is what their stories share.

mod after_others;
mod again;
mod breaker;
mod classes;
mod keeping;
mod leases;
mod room;
mod submission;
mod turns;

use titan_api::jobs::Reason;

use super::super::{
    conditions::{After, Condition},
    steps::{Beat, Event, Keep, Next, Number, Run, Step, Which},
};

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Mutant> {
    let areas = [
        after_others::MUTANTS,
        again::MUTANTS,
        breaker::MUTANTS,
        classes::MUTANTS,
        keeping::MUTANTS,
        leases::MUTANTS,
        room::MUTANTS,
        submission::MUTANTS,
        turns::MUTANTS,
    ];
    areas.into_iter().flatten()
}

/// A script that is wrong in one way.
#[derive(Debug)]
pub(super) struct Mutant {
    pub(super) name: &'static str,
    /// A text of the script, put together as it is sent.
    pub(super) find: &'static str,
    /// How often it stands there.
    pub(super) times: usize,
    pub(super) replace: &'static str,
    pub(super) told: Told,
}

/// What is done that shows it.
#[derive(Debug)]
pub(super) enum Told {
    /// A story that is compared with the model after every call.
    Story(fn() -> Vec<Step>),
    /// The same in a pool that keeps little of what has ended.
    Kept(Keep, fn() -> Vec<Step>),
    /// A join token for one agent is used by two.
    JoinToken,
}

/// The box that is alone in having two GPUs.
const BIG: usize = 3;
/// The box with one GPU.
const OTHER: usize = 2;
/// The box that is alone in having one slot.
const SMALL: usize = 4;
/// A need that only the big box has room for, twice.
const TWO_GPUS: usize = 5;
/// A need that the big box and another have room for.
const ONE_GPU: usize = 3;
/// A need of a GPU that no other job is on.
const WHOLE_GPU: usize = 9;
/// A need of two such GPUs.
const WHOLE_GPUS: usize = 10;
const MUCH_RAM: usize = 1;
const MANY_CPUS: usize = 2;
const ANY: usize = 0;
/// What no box has.
const NOBODY: usize = 8;

/// All boxes send a heartbeat and park.
const ROUND: Step = rounds(1, 0);

const fn rounds(times: usize, silent: u8) -> Step {
    Step::Rounds { times, ms: if times == 1 { 0 } else { 10_000 }, silent }
}

const fn submit(need: usize, priority: i32) -> Step {
    submit_by(0, need, priority)
}

const fn submit_by(owner: usize, need: usize, priority: i32) -> Step {
    Step::Submit { need, priority, max_attempts: 2, allow_unserved: true, owner }
}

/// A job that only the big box can take, under an idempotency key.
const fn order(body: usize, delay_ms: i64) -> Step {
    Step::Order { key: 0, body, need: TWO_GPUS, delay_ms }
}

const fn claim(number: Number, is_lost: bool) -> Step {
    Step::Claim { agent: BIG, number, slots: 4, reach_ms: 20_000, is_lost, measures: None }
}

fn report(agent: usize, which: Which, event: Event) -> Step {
    Step::Report { agent, reports: vec![(which, event)], next: None }
}

/// A box says how a job has ended, and claims another.
fn report_and_claim(agent: usize, event: Event) -> Step {
    let next = Next { number: Number::Next, slots: 1, is_lost: false };
    Step::Report { agent, reports: vec![(Which::Held(0), event)], next: Some(next) }
}

fn done(event: Event) -> Step {
    report(BIG, Which::Held(0), event)
}

fn output(gap: i64) -> Step {
    done(Event::Output { gap, bytes: 3 })
}

/// The big box goes down with what it runs.
const fn crashes(times: usize) -> Step {
    Step::Crashes { agent: BIG, need: TWO_GPUS, times }
}

/// Failures have taken the big box offline, and it is on trial again; what it had to do is cancelled.
fn half_open() -> Vec<Step> {
    let cancelled = (0..5).map(|job| Step::Cancel { job });
    after(vec![ROUND, crashes(5)], cancelled.chain([rounds(2, 0)]))
}

/// Nobody but this box is there.
fn alone(agent: usize) -> Vec<Step> {
    (0..super::super::steps::BOXES).filter(|n| *n != agent).map(|agent| Step::Remove { agent }).collect()
}

/// The only slot of the only box is taken, and a job waits for it.
fn full() -> Vec<Step> {
    after(alone(SMALL), [submit(ANY, 0), ROUND, submit(ANY, 0)])
}

/// A job runs on the big box.
fn running() -> Vec<Step> {
    vec![submit(TWO_GPUS, 0), ROUND]
}

fn after(begun: Vec<Step>, then: impl IntoIterator<Item = Step>) -> Vec<Step> {
    begun.into_iter().chain(then).collect()
}

/// The only slot is taken; two keys' jobs wait for it, and one after the other is served.
fn turns() -> Vec<Step> {
    let next = || [report(SMALL, Which::Held(0), Event::Completed), ROUND];
    let waiting = [1, 1, 1, 1, 2].map(|owner| submit_by(owner, ANY, 0));
    let late = [3, 3, 3].map(|owner| submit_by(owner, ANY, 0));
    let begun = [submit(ANY, 0), ROUND].into_iter().chain(waiting).chain((0..4).flat_map(|_| next()));
    let more = begun.chain(late).chain((0..4).flat_map(|_| next()));
    more.collect()
}

/// The big box runs two jobs beside which a third has no room, for longer than that is passed over; then more comes.
fn passed_over(then: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let begun = after(alone(BIG), [submit(ONE_GPU, 0), submit(ONE_GPU, 0), submit(WHOLE_GPUS, 0), ROUND, rounds(8, 0)]);
    after(begun, then)
}

/// Both GPUs of the big box are shared by others, the larger one for less long by some time; a job that wants one to itself
/// waits for longer than that is passed over.
fn waiting_for_one_gpu(later_ms: i64) -> Vec<Step> {
    let first = after(alone(BIG), [submit(ONE_GPU, 0), ROUND, Step::Wait { ms: later_ms }]);
    after(first, [submit(ONE_GPU, 0), ROUND, submit(WHOLE_GPU, 0), rounds(8, 0)])
}

/// A job with conditions.
fn wish(condition: Condition) -> Step {
    Step::Wish(condition)
}

/// A job that needs next to nothing and waits for these, by their numbers.
fn after_jobs(jobs: &[usize]) -> Condition {
    Condition {
        need: ANY,
        after: jobs.iter().map(|job| After::Job(*job)).collect(),
        runs_anyway: false,
        backoff_ms: 0,
        max_attempts: 2,
        delay_ms: 0,
        owner: 0,
    }
}
