//! Wrong in what is kept of jobs that have ended.

use super::*;

/// A job on the big box writes so much and completes, so several times.
fn written(times: usize, bytes: usize) -> Vec<Step> {
    let one = || [submit(TWO_GPUS, 0), ROUND, done(Event::Output { gap: 0, bytes }), done(Event::Completed)];
    let then = [Step::Pass { ms: 10 }];
    (0..times).flat_map(|_| one().into_iter().chain(then.clone())).collect()
}

/// A job on the big box writes so much and goes on.
fn writing(bytes: usize) -> Vec<Step> {
    vec![submit(TWO_GPUS, 0), ROUND, done(Event::Output { gap: 0, bytes })]
}

fn cancelled(jobs: usize) -> Vec<Step> {
    (0..jobs).flat_map(|job| [submit(NOBODY, 0), Step::Cancel { job }, Step::Pass { ms: 1 }]).collect()
}

/// Two jobs on the big box are cancelled, and nobody says that they are gone; the lease of the first was renewed. Then
/// more jobs end than are kept.
fn two_are_ending() -> Vec<Step> {
    let unread = Beat { has_read: false, besides: Some(0), ..Beat::usual(BIG) };
    let begun =
        [submit(TWO_GPUS, 0), submit(TWO_GPUS, 0), claim(Number::Next, true), rounds(4, 1 << BIG), Step::Beat(unread)];
    let end = |job| [Step::Cancel { job }, Step::Pass { ms: 1 }];
    let others = (2..6).flat_map(|job| [submit(NOBODY, 0), Step::Cancel { job }]);
    begun.into_iter().chain(end(0)).chain(end(1)).chain(others).chain([rounds(5, 1 << BIG)]).collect()
}

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "jobs that have ended are kept for ever",
        find: "local old = int(pool.now - pool.job_keep)",
        times: 1,
        replace: "local old = '0'",
        told: Told::Story(|| after(cancelled(1), [rounds(32, 0), Step::Pass { ms: 0 }])),
    },
    Mutant {
        name: "any number of ended jobs is kept",
        find: "redis.call('ZCARD', key('ended')) > pool.job_max",
        times: 1,
        replace: "false",
        told: Told::Kept(Keep::FewJobs, || cancelled(5)),
    },
    Mutant {
        name: "a job goes with what it wrote",
        find: "    ending.forget_output(j)\n    ending.forget_surplus_output()\n    behind.put(retention.trim)",
        times: 1,
        replace: "    return ending.forget(j)",
        told: Told::Kept(Keep::LittleOutput, || written(3, 1_500)),
    },
    Mutant {
        name: "jobs go while those that run write too much",
        find: "return redis.call('ZCARD', key('ended')) > pool.job_max",
        times: 1,
        replace: "return pool.output > pool.output_max",
        told: Told::Kept(Keep::LittleOutput, || after(writing(4_000), [submit(NOBODY, 0), Step::Cancel { job: 1 }])),
    },
    Mutant {
        name: "output that is forgotten counts for ever",
        find: "pool.output = pool.output - record.ask('STRLEN', name)",
        times: 1,
        replace: "",
        told: Told::Kept(Keep::LittleOutput, || written(5, 1_000)),
    },
    Mutant {
        name: "the newest goes first",
        find: "redis.call('ZRANGE', key('ended'), '0', '0')[1]",
        times: 1,
        replace: "redis.call('ZREVRANGE', key('ended'), '0', '0')[1]",
        told: Told::Kept(Keep::FewJobs, || cancelled(5)),
    },
    Mutant {
        name: "whatever is looked at goes before the oldest",
        find: "retention.surplus() == j.id",
        times: 1,
        replace: "retention.is_over()",
        told: Told::Kept(Keep::FewJobs, two_are_ending),
    },
];
