//! What may happen to a pool, told so that every step means something whatever came before, and shorter stories remain
//! stories: agents, jobs and leases are picked by number among those that there are.

use proptest::{collection::vec, option, prelude::*, sample::select};
use titan_api::{jobs::Reason, scheduler::Profile};

use super::conditions::{self, Condition};

/// How many boxes there are.
pub(super) const BOXES: usize = 5;

/// One step.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Time passes, and the timer settles what is overdue.
    Pass {
        ms: i64,
    },
    /// Time passes and nothing happens.
    Wait {
        ms: i64,
    },
    /// Time passes, and all boxes but the silent ones send a heartbeat and park; so several times.
    Rounds {
        times: usize,
        ms: i64,
        silent: u8,
    },
    Submit {
        need: usize,
        priority: i32,
        max_attempts: u32,
        allow_unserved: bool,
        /// Which API key submits it.
        owner: usize,
    },
    SubmitAgain {
        job: usize,
    },
    /// A job under an idempotency key, which may be known already, and with another body; it may be for later.
    Order {
        key: usize,
        body: usize,
        need: usize,
        delay_ms: i64,
    },
    /// A job that waits for others, for a time, or between its attempts.
    Wish(Condition),
    /// Many jobs at once that all wait for one.
    Fan {
        of: usize,
        leaves: usize,
        need: usize,
        runs_anyway: bool,
    },
    /// Jobs that depend on each other, at once: one of a few shapes, under an idempotency key that may be known already.
    Batch {
        key: usize,
        shape: usize,
    },
    Retry {
        job: usize,
    },
    Cancel {
        job: usize,
    },
    Register {
        agent: usize,
        run: Run,
    },
    Beat(Beat),
    Claim {
        agent: usize,
        number: Number,
        slots: u32,
        reach_ms: u64,
        is_lost: bool,
        measures: Option<Measuring>,
    },
    /// Each report is of a lease by its number, and by `agent`, or the next that holds anything.
    Report {
        agent: usize,
        reports: Vec<(Which, Event)>,
        next: Option<Next>,
    },
    Drain {
        agent: usize,
        draining: bool,
    },
    /// A box takes a job and goes down with it, so several times.
    Crashes {
        agent: usize,
        need: usize,
        times: usize,
    },
    Remove {
        agent: usize,
    },
    /// A box joins, if need be again, and a new run of it registers.
    Join {
        agent: usize,
    },
}

/// A claim that comes with reports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    pub(super) number: Number,
    pub(super) slots: u32,
    pub(super) is_lost: bool,
}

/// Which run of an agent registers.
#[derive(Debug, Clone)]
pub(super) enum Run {
    /// The one that is registered already.
    Same,
    /// A new one, which has taken over some of the attempts, on a box that may have changed.
    New { kept: u8, is_smaller: bool },
}

#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(super) struct Beat {
    pub(super) agent: usize,
    pub(super) is_late: bool,
    pub(super) is_of_the_run_before: bool,
    /// Whether the replies to all claims were read.
    pub(super) has_read: bool,
    /// Of the leases that it holds, those that it does not list.
    pub(super) unlisted: u8,
    /// A lease that it lists besides: any that was ever given.
    pub(super) besides: Option<usize>,
    pub(super) leaving: bool,
    pub(super) measures: Measuring,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Next,
    Same,
    Lower,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Measuring {
    /// Of the GPUs' and the main memory, in eighths.
    pub(super) free: u64,
    /// Of the GPUs' memory, in eighths; none where it can't be read.
    pub(super) used: Option<u64>,
    pub(super) has_ram: bool,
    pub(super) has_seen: bool,
    pub(super) rtt_ms: Option<f64>,
}

/// A lease.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    /// Among those that the agent holds.
    Held(usize),
    /// Among all that were ever given, to whomever.
    Any(usize),
    /// One that the agent holds, but for its id: as after a failover that has lost a claim.
    OtherLease(usize),
    /// One that the agent holds, but for the number of the attempt.
    OtherAttempt(usize),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    Started,
    /// Output that begins so many bytes after the end of what was written.
    Output {
        gap: i64,
        bytes: usize,
    },
    Completed,
    Failed(Reason),
    Released,
    Cancelled,
}

/// A whole case.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// How scores are weighed.
    pub(super) profile: Profile,
    pub(super) keep: Keep,
    pub(super) steps: Vec<Step>,
}

/// What is kept of jobs that have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keep {
    /// Everything, for a while.
    Usual,
    FewJobs,
    LittleOutput,
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let profile = select(vec![Profile::Balanced, Profile::Memory, Profile::Latency]);
    let keep = select(vec![Keep::Usual, Keep::Usual, Keep::FewJobs, Keep::LittleOutput]);
    (profile, keep, vec(step(), 1..60)).prop_map(|(profile, keep, steps)| Case { profile, keep, steps })
}

fn step() -> impl Strategy<Value = Step> {
    let pass = select(vec![0, 1, 400, 1_000, 1_001, 3_000, 5_000, 10_000, 16_000, 30_000, 61_000, 70_000, 310_000]);
    let times = prop_oneof![3 => Just(1_usize), 1 => 2..10_usize];
    let round = select(vec![0, 1_000, 10_000, 10_000, 10_000, 20_000]);
    prop_oneof![
        3 => pass.clone().prop_map(|ms| Step::Pass { ms }),
        1 => pass.prop_map(|ms| Step::Wait { ms }),
        8 => (times, round, any::<u8>(), any::<u8>())
            .prop_map(|(times, ms, a, b)| Step::Rounds { times, ms, silent: a & b }),
        14 => submit(),
        2 => (0..40_usize).prop_map(|job| Step::SubmitAgain { job }),
        5 => order(),
        7 => conditions::condition().prop_map(Step::Wish),
        1 => conditions::fan(),
        2 => conditions::batch(),
        4 => (0..40_usize).prop_map(|job| Step::Retry { job }),
        4 => (0..40_usize).prop_map(|job| Step::Cancel { job }),
        3 => (0..BOXES, run()).prop_map(|(agent, run)| Step::Register { agent, run }),
        6 => beat().prop_map(Step::Beat),
        12 => claim(),
        12 => (0..BOXES, vec((which(), event()), 1..4), option::weighted(0.4, next()))
            .prop_map(|(agent, reports, next)| Step::Report { agent, reports, next }),
        2 => (0..BOXES, any::<bool>()).prop_map(|(agent, draining)| Step::Drain { agent, draining }),
        3 => (0..BOXES, 0..super::boxes::NEEDS, 1..6_usize)
            .prop_map(|(agent, need, times)| Step::Crashes { agent, need, times }),
        2 => (0..BOXES).prop_map(|agent| Step::Remove { agent }),
        2 => (0..BOXES).prop_map(|agent| Step::Join { agent }),
    ]
}

fn submit() -> impl Strategy<Value = Step> {
    let priority = select(vec![0, 0, 0, 7, -5]);
    (0..super::boxes::NEEDS, priority, 1..4_u32, prop::bool::weighted(0.3), 0..3_usize).prop_map(
        |(need, priority, max_attempts, allow_unserved, owner)| Step::Submit {
            need,
            priority,
            max_attempts,
            allow_unserved,
            owner,
        },
    )
}

fn order() -> impl Strategy<Value = Step> {
    let delay = select(vec![0, 0, -1_000, 1, 5_000, 40_000]);
    (0..6_usize, 0..6_usize, 0..super::boxes::NEEDS, delay).prop_map(|(key, other, need, delay_ms)| Step::Order {
        key,
        body: usize::from(other == 0),
        need,
        delay_ms,
    })
}

fn run() -> impl Strategy<Value = Run> {
    prop_oneof![
        Just(Run::Same),
        (any::<u8>(), prop::bool::weighted(0.2)).prop_map(|(kept, is_smaller)| Run::New { kept, is_smaller }),
    ]
}

fn beat() -> impl Strategy<Value = Beat> {
    let rarely = || prop::bool::weighted(0.1);
    let lists = (any::<u8>(), any::<u8>(), option::weighted(0.2, 0..60_usize));
    (0..BOXES, rarely(), rarely(), prop::bool::weighted(0.7), lists, rarely(), measuring()).prop_map(
        |(agent, is_late, is_of_the_run_before, has_read, (a, b, besides), leaving, measures)| Beat {
            agent,
            is_late,
            is_of_the_run_before,
            has_read,
            unlisted: a & b,
            besides,
            leaving,
            measures,
        },
    )
}

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![8 => Just(Number::Next), 2 => Just(Number::Same), 1 => Just(Number::Lower)]
}

fn next() -> impl Strategy<Value = Next> {
    (number(), 0..4_u32, prop::bool::weighted(0.2)).prop_map(|(number, slots, is_lost)| Next { number, slots, is_lost })
}

fn claim() -> impl Strategy<Value = Step> {
    let reach = select(vec![20_000, 20_000, 500, 0]);
    (0..BOXES, number(), 0..4_u32, reach, prop::bool::weighted(0.2), option::weighted(0.3, measuring())).prop_map(
        |(agent, number, slots, reach_ms, is_lost, measures)| Step::Claim {
            agent,
            number,
            slots,
            reach_ms,
            is_lost,
            measures,
        },
    )
}

fn measuring() -> impl Strategy<Value = Measuring> {
    let used = option::weighted(0.7, 0..5_u64);
    let rtt_ms = option::of(select(vec![0.4, 7.0, 52.0, 130.0, 400.0]));
    (0..9_u64, used, any::<bool>(), any::<bool>(), rtt_ms)
        .prop_map(|(free, used, has_ram, has_seen, rtt_ms)| Measuring { free, used, has_ram, has_seen, rtt_ms })
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![
        12 => (0..4_usize).prop_map(Which::Held),
        3 => (0..60_usize).prop_map(Which::Any),
        1 => (0..4_usize).prop_map(Which::OtherLease),
        1 => (0..4_usize).prop_map(Which::OtherAttempt),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let reasons = select(vec![Reason::ExitCode, Reason::Signal, Reason::Timeout, Reason::Refused]);
    let output = (select(vec![0, 0, 0, -3, 2]), 1..2_000_usize).prop_map(|(gap, bytes)| Event::Output { gap, bytes });
    prop_oneof![
        2 => Just(Event::Started),
        2 => output,
        4 => Just(Event::Completed),
        4 => reasons.prop_map(Event::Failed),
        1 => Just(Event::Released),
        1 => Just(Event::Cancelled),
    ]
}
