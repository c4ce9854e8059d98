//! Wrong in what a lease, a claim or a report is good for.

use super::*;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a report need not name the lease of its attempt",
        find: " and entry.lease == lease",
        times: 1,
        replace: "",
        told: Told::Story(|| after(running(), [report(BIG, Which::OtherLease(0), Event::Completed)])),
    },
    Mutant {
        name: "a report need not name the number of its attempt",
        find: " and entry.number == number",
        times: 1,
        replace: "",
        told: Told::Story(|| after(running(), [report(BIG, Which::OtherAttempt(0), Event::Completed)])),
    },
    Mutant {
        name: "a repeated claim gets other leases than the first time",
        find: "number == a.claim and a.brought ~= false and given(a, number) or {}",
        times: 1,
        replace: "{}",
        told: Told::Story(|| after(running(), [submit(TWO_GPUS, 0), claim(Number::Same, false)])),
    },
    Mutant {
        name: "jobs of one claim get the same lease",
        find: "handed = handed + 1",
        times: 1,
        replace: "handed = 1",
        told: Told::Story(|| vec![submit(TWO_GPUS, 0), submit(TWO_GPUS, 0), claim(Number::Next, false)]),
    },
    Mutant {
        name: "a claim with a lower number is served",
        find: "number < a.claim",
        times: 1,
        replace: "false",
        told: Told::Story(|| vec![claim(Number::Next, false), submit(TWO_GPUS, 0), claim(Number::Lower, false)]),
    },
    Mutant {
        name: "a claim that comes with reports brings nothing",
        find: "if number and not jobs then",
        times: 1,
        replace: "if false then",
        told: Told::Story(|| after(full(), [report_and_claim(SMALL, Event::Completed)])),
    },
    Mutant {
        name: "without a claim the room that reports make stays empty",
        find: "elseif has_reported then",
        times: 1,
        replace: "elseif false then",
        told: Told::Story(|| {
            let parked = Step::Claim {
                agent: BIG,
                number: Number::Next,
                slots: 1,
                reach_ms: 20_000,
                is_lost: false,
                measures: None,
            };
            let both = [submit(TWO_GPUS, 0), submit(TWO_GPUS, 0), ROUND, submit(TWO_GPUS, 0), parked];
            after(both.to_vec(), [done(Event::Completed)])
        }),
    },
    Mutant {
        name: "a heartbeat that was overtaken counts",
        find: "tonumber(ARGV[3]) <= a.seq",
        times: 1,
        replace: "false",
        told: Told::Story(|| vec![Step::Wait { ms: 1_000 }, Step::Beat(Beat { is_late: true, ..Beat::usual(BIG) })]),
    },
    Mutant {
        name: "a job that was cancelled may complete",
        find: "if j.state == 'running' then\n      handler(j, ...)",
        times: 1,
        replace: "if true then\n      handler(j, ...)",
        told: Told::Story(|| after(running(), [Step::Cancel { job: 0 }, done(Event::Completed)])),
    },
    Mutant {
        name: "a failed attempt is not counted",
        find: "  if free then\n",
        times: 1,
        replace: "  if true then\n",
        told: Told::Story(|| {
            let fails = done(Event::Failed(Reason::ExitCode));
            after(running(), [fails.clone(), ROUND, fails])
        }),
    },
    Mutant {
        name: "a lease is lost before its processes must be gone",
        find: "pool.prompt_max = cmsgpack.unpack(f[3])\n",
        times: 1,
        replace: "pool.prompt_max = cmsgpack.unpack(f[3])\n  pool.grace = 0\n",
        told: Told::Story(|| after(running(), [rounds(6, 1 << BIG), Step::Pass { ms: 5_000 }])),
    },
    Mutant {
        name: "a silence of everybody is held against them",
        find: "settled, is_amnesty = 0, pool.now < pool.amnesty",
        times: 1,
        replace: "settled, is_amnesty = 0, false",
        told: Told::Story(|| after(running(), [Step::Pass { ms: 100_000 }])),
    },
    Mutant {
        name: "a silence of everybody holds up what waits for its time",
        find: "if is_amnesty and is_owed_a_word(kind, id) then",
        times: 1,
        replace: "if is_amnesty then",
        told: Told::Story(|| {
            vec![Step::Order { key: 0, body: 1, need: 0, delay_ms: 40_000 }, Step::Pass { ms: 61_000 }]
        }),
    },
    Mutant {
        name: "a run that was superseded is heard",
        find: "if epoch < a.epoch then",
        times: 1,
        replace: "if false then",
        told: Told::Story(|| {
            let new_run = Step::Register { agent: BIG, run: Run::New { kept: 0, is_smaller: false } };
            vec![new_run, Step::Beat(Beat { is_of_the_run_before: true, ..Beat::usual(BIG) })]
        }),
    },
    Mutant {
        name: "output may leave a gap",
        find: "if offset > j.out then",
        times: 1,
        replace: "if false then",
        told: Told::Story(|| after(running(), [output(2)])),
    },
    Mutant {
        name: "repeated output is taken again",
        find: "data = string.sub(data, j.out - offset + 1)",
        times: 1,
        replace: "",
        told: Told::Story(|| after(running(), [output(0), output(-3)])),
    },
    Mutant {
        name: "a lease whose reply is on its way goes back",
        find: "return entry.claim <= last_claim",
        times: 1,
        replace: "return true",
        told: Told::Story(|| {
            let unread = Step::Beat(Beat { has_read: false, ..Beat::usual(BIG) });
            vec![submit(TWO_GPUS, 0), claim(Number::Next, true), unread]
        }),
    },
    Mutant {
        name: "a lease that nobody holds lasts",
        find: "and not listed[job_id]",
        times: 1,
        replace: "and false",
        told: Told::Story(|| after(running(), [Step::Beat(Beat { unlisted: u8::MAX, ..Beat::usual(BIG) })])),
    },
    Mutant {
        name: "a join token is used more often than it may be",
        find: "if tonumber(f[5]) >= tonumber(f[3]) then",
        times: 1,
        replace: "if false then",
        told: Told::JoinToken,
    },
];
