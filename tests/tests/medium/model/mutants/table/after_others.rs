//! Wrong in how jobs wait for others.

use super::*;

/// Of two jobs that one waits for the first has ended well, and it was not told yet, since twenty others are told before it.
fn one_of_two_has_ended() -> Vec<Step> {
    let fan = Step::Fan { of: 0, leaves: 20, need: NOBODY, runs_anyway: true };
    let begun = [submit(TWO_GPUS, 0), submit(NOBODY, 0), fan, wish(after_jobs(&[0, 1])), ROUND];
    after(begun.to_vec(), [done(Event::Completed)])
}

/// Of a chain of three that came at once the last two were cancelled and are forgotten, and it comes again.
fn half_of_a_batch_comes_again() -> Vec<Step> {
    let batch = || Step::Batch { key: 0, shape: 0 };
    vec![batch(), Step::Cancel { job: 1 }, rounds(33, 0), Step::Pass { ms: 0 }, batch()]
}

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a job begins before what it depends on has ended",
        find: "  if waits_for == 0 then\n    return queue.start(j)",
        times: 1,
        replace: "  if true then\n    return queue.start(j)",
        told: Told::Story(|| after(running(), [wish(after_jobs(&[0]))])),
    },
    Mutant {
        name: "a job goes on though what it depends on was cancelled",
        find: "return j.on_failure == 'run'",
        times: 1,
        replace: "return true",
        told: Told::Story(|| vec![submit(NOBODY, 0), wish(after_jobs(&[0])), Step::Cancel { job: 0 }]),
    },
    Mutant {
        name: "a job that is to run anyway is cancelled",
        find: "return j.on_failure == 'run'",
        times: 1,
        replace: "return false",
        told: Told::Story(|| {
            let cleanup = Condition { runs_anyway: true, ..after_jobs(&[0]) };
            vec![submit(NOBODY, 0), wish(cleanup), Step::Cancel { job: 0 }]
        }),
    },
    Mutant {
        name: "a failure cancels only what depends on it itself",
        find: "  if j.dependents then\n    redis.call('ZADD', key('due'), int(pool.now), 'after:' .. j.id)",
        times: 1,
        replace: "  if j.dependents and j.state ~= 'cancelled' then\n    redis.call('ZADD', key('due'), int(pool.now), 'after:' .. j.id)",
        told: Told::Story(|| {
            let begun = [submit(TWO_GPUS, 0), wish(after_jobs(&[0])), wish(after_jobs(&[1])), ROUND];
            let fails = || [done(Event::Failed(Reason::ExitCode)), ROUND];
            begun.into_iter().chain(fails()).chain(fails()).chain([Step::Pass { ms: 0 }]).collect()
        }),
    },
    Mutant {
        name: "a job begins when the first has ended that it depends on",
        find: "j.needs > 1 and j.needs - 1 or nil",
        times: 1,
        replace: "nil",
        told: Told::Story(|| {
            let begun = [submit(TWO_GPUS, 0), submit(NOBODY, 0), wish(after_jobs(&[0, 1])), ROUND];
            after(begun.to_vec(), [done(Event::Completed), Step::Pass { ms: 0 }])
        }),
    },
    Mutant {
        name: "of many dependents only the first are told",
        find: "if #popped < 2 * SLICE then",
        times: 1,
        replace: "if true then",
        told: Told::Story(|| vec![Step::Batch { key: 0, shape: 2 }, Step::Cancel { job: 0 }, Step::Pass { ms: 0 }]),
    },
    Mutant {
        name: "all dependents are told at once, however many there are",
        find: "local SLICE = 8\n",
        times: 1,
        replace: "local SLICE = 1000\n",
        told: Told::Story(|| vec![Step::Batch { key: 0, shape: 2 }, Step::Cancel { job: 0 }]),
    },
    Mutant {
        name: "of all that one script tells, only the last is written",
        find: "told[#told + 1], told[#told + 2] = topic, payload",
        times: 1,
        replace: "told[1], told[2] = topic, payload",
        told: Told::Story(|| vec![Step::Batch { key: 0, shape: 2 }, Step::Cancel { job: 0 }]),
    },
    Mutant {
        name: "a job that is tried again waits for nothing",
        find: "event.job('retried', j)\ndependencies.restart(j, depends_on)",
        times: 1,
        replace: "event.job('retried', j)\nqueue.put(j)",
        told: Told::Story(|| {
            let again = [Step::Cancel { job: 1 }, Step::Retry { job: 1 }];
            vec![submit(NOBODY, 0), wish(after_jobs(&[0]))].into_iter().chain(again).collect()
        }),
    },
    Mutant {
        name: "a job that waits again is told of what had ended before",
        find: "redis.call('ZREM', key('dependents', dependency.id), j.id)",
        times: 1,
        replace: "",
        told: Told::Story(|| {
            let again = [Step::Cancel { job: 22 }, Step::Retry { job: 22 }, rounds(5, 0)];
            after(one_of_two_has_ended(), again)
        }),
    },
    Mutant {
        name: "a job is tried again though what it was cancelled for is forgotten",
        find: "return cause and not job:load(cause)",
        times: 1,
        replace: "return false",
        told: Told::Kept(Keep::FewJobs, || {
            let cancelled = |job| [submit(NOBODY, 0), Step::Cancel { job }];
            let others = (2..5).flat_map(cancelled);
            let begun =
                vec![submit(NOBODY, 0), wish(after_jobs(&[0])), Step::Cancel { job: 0 }, Step::Pass { ms: 1_001 }];
            after(begun, others.chain([Step::Pass { ms: 1_001 }, Step::Retry { job: 0 }]))
        }),
    },
    Mutant {
        name: "of jobs that come at once, one may wait for nobody",
        find: "elseif missing then",
        times: 1,
        replace: "elseif false then",
        told: Told::Story(|| {
            let nobody = Condition { after: vec![After::Nobody], ..after_jobs(&[]) };
            vec![wish(nobody)]
        }),
    },
    Mutant {
        name: "a batch that comes again waits for jobs that there never were",
        find: "return meant[id] or job:load(id)",
        times: 1,
        replace: "return job:load(id)",
        told: Told::Story(half_of_a_batch_comes_again),
    },
    Mutant {
        name: "what is shown of a batch that came again names jobs that there never were",
        find: "if dependency and dependency.id ~= id then",
        times: 1,
        replace: "if false then",
        told: Told::Story(half_of_a_batch_comes_again),
    },
];
