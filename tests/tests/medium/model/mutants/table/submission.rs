//! Wrong in how jobs come in, and come again.

use super::*;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a submission that is repeated is another job",
        find: "idempotency.find(options) or meant[j.id] or job:load(j.id)",
        times: 1,
        replace: "idempotency.find(options) or nil",
        told: Told::Story(|| after(running(), [Step::Wait { ms: 1_000 }, Step::SubmitAgain { job: 0 }])),
    },
    Mutant {
        name: "an idempotency key is good for any body",
        find: "body ~= options.idem.body",
        times: 1,
        replace: "body == nil",
        told: Told::Story(|| vec![order(0, 0), order(1, 0)]),
    },
    Mutant {
        name: "an idempotency key is not remembered",
        find: "redis.call('SET', key('idem', options.idem.key), j.id .. ' ' .. options.idem.body)",
        times: 1,
        replace: "",
        told: Told::Story(|| vec![order(0, 0), order(0, 0)]),
    },
    Mutant {
        name: "an idempotency key outlasts its job",
        find: "redis.call('DEL', key('idem', j.idem))",
        times: 1,
        replace: "",
        told: Told::Story(|| {
            vec![order(0, 0), Step::Cancel { job: 0 }, rounds(33, 0), Step::Pass { ms: 0 }, order(1, 0)]
        }),
    },
    Mutant {
        name: "a job begins before its time",
        find: "j.not_before and pool.now < j.not_before",
        times: 1,
        replace: "false",
        told: Told::Story(|| vec![ROUND, order(0, 5_000)]),
    },
    Mutant {
        name: "a job that completed is tried again",
        find: "elseif j.state == 'completed' then",
        times: 1,
        replace: "elseif j.state == 'nothing' then",
        told: Told::Story(|| after(running(), [done(Event::Completed), Step::Retry { job: 0 }])),
    },
    Mutant {
        name: "a retried job has no attempts of its own",
        find: "job:put(j, 'free', j.attempt)",
        times: 1,
        replace: "",
        told: Told::Story(|| {
            let fails = || [claim(Number::Next, false), done(Event::Failed(Reason::ExitCode))];
            let retried = [Step::Retry { job: 0 }].into_iter().chain(fails());
            after(running(), [done(Event::Failed(Reason::ExitCode))].into_iter().chain(fails()).chain(retried))
        }),
    },
];
