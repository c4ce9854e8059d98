//! Wrong in when a job is tried again.

use super::*;

/// A job that waits between its attempts has failed so often on the big box.
fn failed(times: usize) -> Vec<Step> {
    let flaky = Condition { need: TWO_GPUS, backoff_ms: 20_000, max_attempts: 4, ..after_jobs(&[]) };
    let fails = (0..times).flat_map(|_| [done(Event::Failed(Reason::ExitCode)), rounds(5, 0)]);
    after(vec![wish(flaky), ROUND], fails)
}

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a job that failed is tried again at once",
        find: "if wait > 0 then",
        times: 1,
        replace: "if false then",
        told: Told::Story(|| failed(1)),
    },
    Mutant {
        name: "a job waits as long before each attempt",
        find: "2 ^ math.min(job.spent(j) - 1, 20)",
        times: 1,
        replace: "1",
        told: Told::Story(|| failed(2)),
    },
    Mutant {
        name: "jobs that failed together are tried again together",
        find: "(0.5 + jitter / 2)",
        times: 1,
        replace: "1",
        told: Told::Story(|| failed(1)),
    },
    Mutant {
        name: "a job waits after a refusal",
        find: "is_its_own = not refusal",
        times: 1,
        replace: "is_its_own = true",
        told: Told::Story(|| {
            let flaky = Condition { need: ONE_GPU, backoff_ms: 20_000, ..after_jobs(&[]) };
            let refused = report(OTHER, Which::Held(0), Event::Failed(Reason::Refused));
            vec![submit(TWO_GPUS, 0), wish(flaky), ROUND, refused]
        }),
    },
    Mutant {
        name: "a job that is tried again begins before its time",
        find: "if j.attempt > 0 then",
        times: 1,
        replace: "if true then",
        told: Told::Story(|| vec![ROUND, order(0, 40_000), Step::Cancel { job: 0 }, Step::Retry { job: 0 }]),
    },
    Mutant {
        name: "a job that is tried again waits on after its last failure",
        find: "if j.attempt > 0 then",
        times: 1,
        replace: "if false then",
        told: Told::Story(|| {
            let flaky = Condition { need: TWO_GPUS, backoff_ms: 20_000, max_attempts: 4, ..after_jobs(&[]) };
            let fails = done(Event::Failed(Reason::ExitCode));
            vec![wish(flaky), ROUND, fails, Step::Cancel { job: 0 }, Step::Retry { job: 0 }]
        }),
    },
];
