//! Wrong in when an agent is in service.

use super::*;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "failures in a row change nothing",
        find: "local FAILURES_TO_DEGRADE = 3",
        times: 1,
        replace: "local FAILURES_TO_DEGRADE = 100",
        told: Told::Story(|| vec![ROUND, crashes(3)]),
    },
    Mutant {
        name: "a success does not end the row of failures",
        find: "t.fails, t.wins = 0, t.wins + 1",
        times: 1,
        replace: "t.wins = t.wins + 1",
        told: Told::Story(|| vec![ROUND, crashes(1), rounds(2, 0), done(Event::Completed)]),
    },
    Mutant {
        name: "a job that nobody came for is not held against its agent",
        find: "if not a.draining and not a.leaving then\n      breaker.failed(a, j.id)",
        times: 1,
        replace: "if not a.draining and not a.leaving then",
        told: Told::Story(|| vec![ROUND, submit(TWO_GPUS, 0), Step::Pass { ms: 6_000 }]),
    },
    Mutant {
        name: "a job that completes elsewhere leaves no blame",
        find: "if other and is_in_service(other) and",
        times: 1,
        replace: "if false and",
        told: Told::Story(|| {
            let fails = report(OTHER, Which::Held(0), Event::Failed(Reason::ExitCode));
            let elsewhere = report(BIG, Which::Held(1), Event::Completed);
            vec![submit(TWO_GPUS, 0), submit(ONE_GPU, 0), ROUND, fails, ROUND, elsewhere]
        }),
    },
    Mutant {
        name: "failures take all of a pool offline",
        find: "return 2 * (tripped + 1) <=",
        times: 1,
        replace: "return 0 * (tripped + 1) <=",
        told: Told::Story(|| after(alone(BIG), [ROUND, crashes(5)])),
    },
    Mutant {
        name: "the guard is told of again and again",
        find: "if not t.guarded then",
        times: 1,
        replace: "if true then",
        told: Told::Story(|| after(alone(BIG), [ROUND, crashes(6)])),
    },
    Mutant {
        name: "an edge is told twice",
        find: "  tell(a, state, from)\n",
        times: 1,
        replace: "  tell(a, state, from)\n  tell(a, state, from)\n",
        told: Told::Story(|| vec![ROUND, crashes(3)]),
    },
    Mutant {
        name: "an attempt from before an edge moves the breaker",
        find: "return entry and entry.edge == (a.edge or 0)",
        times: 1,
        replace: "return entry",
        told: Told::Story(|| {
            let late = Step::Rounds { times: 3, ms: 10_000, silent: 1 << BIG };
            let restarts = Step::Register { agent: BIG, run: Run::New { kept: 0, is_smaller: false } };
            after(running(), [late, restarts])
        }),
    },
    Mutant {
        name: "an agent that failures took offline is back at once",
        find: "elseif pool.now >= t.until_ms then",
        times: 1,
        replace: "else",
        told: Told::Story(|| vec![ROUND, crashes(5), ROUND]),
    },
    Mutant {
        name: "a second cool-down is as short as the first",
        find: "t.cool_ms and math.min(2 * t.cool_ms, LONGEST_COOL_DOWN_MS) or COOL_DOWN_MS",
        times: 1,
        replace: "COOL_DOWN_MS",
        told: Told::Story(|| after(half_open(), [crashes(1)])),
    },
    Mutant {
        name: "an agent has several trials at once",
        find: "return not agent.trouble(a).trial and",
        times: 1,
        replace: "return",
        told: Told::Story(|| after(half_open(), [submit(TWO_GPUS, 0), submit(TWO_GPUS, 0), ROUND])),
    },
    Mutant {
        name: "a job is tried with its last attempt",
        find: "need.max - need.attempt + need.free > 1",
        times: 1,
        replace: "true",
        told: Told::Story(|| {
            let last = Step::Submit { need: TWO_GPUS, priority: 0, max_attempts: 1, allow_unserved: true, owner: 0 };
            after(half_open(), [last])
        }),
    },
    Mutant {
        name: "a trial that is over keeps its permit",
        find: "  if agent.is_trial(a, job_id) then\n    agent.put_trial(a, nil)\n  end\n",
        times: 1,
        replace: "",
        told: Told::Story(|| {
            let cancelled = [submit(TWO_GPUS, 0), Step::Cancel { job: 5 }, submit(TWO_GPUS, 0)];
            after(half_open(), cancelled)
        }),
    },
    Mutant {
        name: "a half-open agent is only tried when it scores best",
        find: "if bits >= TRIAL_BIT then",
        times: 1,
        replace: "if false then",
        told: Told::Story(|| after(half_open(), [submit(ONE_GPU, 0)])),
    },
    Mutant {
        name: "one trial that goes well heals",
        find: "local TRIALS_TO_HEAL = 2",
        times: 1,
        replace: "local TRIALS_TO_HEAL = 1",
        told: Told::Story(|| after(half_open(), [submit(TWO_GPUS, 0), ROUND, done(Event::Completed)])),
    },
    Mutant {
        name: "a trial that runs on is waited for",
        find: "pool.now >= j.started + TRIAL_LASTS_MS",
        times: 1,
        replace: "false",
        told: Told::Story(|| after(half_open(), [submit(TWO_GPUS, 0), ROUND, done(Event::Started), rounds(4, 0)])),
    },
    Mutant {
        name: "a trial that falls silent is nothing but silence",
        find: "if a.state == 'half_open' and agent.trouble(a).trial then",
        times: 1,
        replace: "if false then",
        told: Told::Story(|| after(half_open(), [submit(TWO_GPUS, 0), ROUND, rounds(5, 1 << BIG)])),
    },
    Mutant {
        name: "an agent that nobody tries stays half-open",
        find: "pool.now - t.trial_ms < PATIENCE_MS",
        times: 1,
        replace: "true",
        told: Told::Story(|| after(half_open(), [rounds(7, 0)])),
    },
    Mutant {
        name: "a probe that is handed back goes to another agent",
        find: "if job.spent(j) >= j.max or j.probe then",
        times: 1,
        replace: "if job.spent(j) >= j.max then",
        told: Told::Story(|| after(half_open(), [rounds(7, 0), done(Event::Released)])),
    },
];
