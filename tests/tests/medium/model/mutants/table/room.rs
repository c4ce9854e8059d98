//! Wrong in what an agent has room for, and where a job goes.

use super::*;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "of the new kinds of jobs in a batch only one is found its agents",
        find: "if looked_at >= SLICE then",
        times: 1,
        replace: "if looked_at > 0 then",
        told: Told::Story(|| vec![Step::Batch { key: 0, shape: 4 }]),
    },
    Mutant {
        name: "a completed attempt keeps what it has reserved",
        find: "  agent.release(a, j.id)\n  job:put(j, 'lease_until', nil)\n  job:put(j, 'exit', 0)",
        times: 1,
        replace: "  job:put(j, 'lease_until', nil)\n  job:put(j, 'exit', 0)",
        told: Told::Story(|| after(running(), [done(Event::Completed)])),
    },
    Mutant {
        name: "the end of an attempt frees what others have reserved too",
        find: "write(a, 'HDEL', ended)",
        times: 1,
        replace: "if ended[1] then redis.call('DEL', key('live', a.id)) end",
        told: Told::Story(|| vec![submit(TWO_GPUS, 0), submit(TWO_GPUS, 0), ROUND, done(Event::Completed)]),
    },
    Mutant {
        name: "main memory is promised twice",
        find: "left.ram = left.ram - entry.ram\n",
        times: 1,
        replace: "",
        told: Told::Story(|| vec![submit(MUCH_RAM, 0)]),
    },
    Mutant {
        name: "memory of GPUs is promised twice",
        find: "vram_of(j, a, devices), devices",
        times: 1,
        replace: "0, devices",
        told: Told::Story(|| vec![submit(TWO_GPUS, 0)]),
    },
    Mutant {
        name: "a draining agent gets work",
        find: " and not a.draining and",
        times: 1,
        replace: " and",
        told: Told::Story(|| vec![Step::Drain { agent: BIG, draining: true }, submit(TWO_GPUS, 0)]),
    },
    Mutant {
        name: "a job is placed where it has no room",
        find: "local devices = fit.now(a, j, room.beside(a))\n        if devices and not (j.avoid",
        times: 1,
        replace: "local devices = {}\n        if devices and not (j.avoid",
        told: Told::Story(|| after(alone(BIG), [MANY_CPUS; 3].map(|need| submit(need, 0)))),
    },
    Mutant {
        name: "what was found for one job of a batch is taken for the next, too",
        find: "    binding.bind(j, a, devices)\n  end\n  found = nil",
        times: 1,
        replace: "    binding.bind(j, a, devices)\n  end",
        told: Told::Story(|| vec![Step::Batch { key: 0, shape: 5 }]),
    },
    Mutant {
        name: "a job is placed by the ranks before the last one was",
        find: "  rank.settle()\n  local bits",
        times: 1,
        replace: "  local bits",
        told: Told::Story(|| {
            let fan = Step::Fan { of: 0, leaves: 3, need: ANY, runs_anyway: false };
            after(running(), [fan, ROUND, done(Event::Completed)])
        }),
    },
    Mutant {
        name: "an agent that has got a job of a batch stands where it stood",
        find: "seat.value = rank.value(seat.agent, seat.score)",
        times: 1,
        replace: "",
        told: Told::Story(|| vec![Step::Batch { key: 0, shape: 5 }]),
    },
    Mutant {
        name: "an agent that has got a job of a batch moves in the ranks while they are read",
        find: "seat.slots and score_of(seat)), for_ms)\n",
        times: 1,
        replace: "seat.slots and score_of(seat)), for_ms)\n  rank.update(a)\n",
        told: Told::Story(|| {
            // One of those in a rank waits no more.
            let parks = |agent| Step::Claim {
                agent,
                number: Number::Next,
                slots: 4,
                reach_ms: 20_000,
                is_lost: false,
                measures: None,
            };
            let again = [0, OTHER, BIG, SMALL].map(parks);
            let batch = [Step::Pass { ms: 6_000 }, Step::Batch { key: 0, shape: 5 }];
            let known = vec![ROUND, submit(ANY, 0), parks(SMALL), Step::Pass { ms: 15_000 }];
            after(known, again.into_iter().chain(batch))
        }),
    },
    Mutant {
        name: "an agent has CPUs for all jobs of a batch if it has them for one",
        find: " and j.ram == 0 and j.cpus == 0 then",
        times: 1,
        replace: " then",
        told: Told::Story(|| after(alone(BIG), [Step::Batch { key: 0, shape: 6 }])),
    },
    Mutant {
        name: "an agent without room for one job of a batch has none for those that need less",
        find: "if not (lined and need_the_same(j, lined)) then",
        times: 1,
        replace: "if not lined then",
        told: Told::Story(|| after(alone(BIG), [Step::Batch { key: 0, shape: 6 }])),
    },
    Mutant {
        name: "no job of a batch is tried out on a half-open agent",
        find: "return rank.steps(j.class) < 2 ^ rank.TRIAL",
        times: 1,
        replace: "return true",
        told: Told::Story(|| after(half_open(), [Step::Batch { key: 0, shape: 5 }])),
    },
    Mutant {
        name: "a job that has left its line is found in it again",
        find: "known.at = i + 1",
        times: 1,
        replace: "",
        told: Told::Story(|| {
            let drain = |draining| Step::Drain { agent: BIG, draining };
            vec![drain(true), submit(TWO_GPUS, 0), submit(TWO_GPUS, 0), drain(false), claim(Number::Next, false)]
        }),
    },
    Mutant {
        name: "an agent that is late scores as before",
        find: "a.state == 'degraded' and score * 0.5 or score",
        times: 1,
        replace: "score",
        told: Told::Story(|| vec![rounds(3, 1 << BIG)]),
    },
    Mutant {
        name: "a job goes back to where it failed though another has room",
        find: "if devices and not (j.avoid and avoid.is_avoided(j, a.id)) then",
        times: 1,
        replace: "if devices then",
        told: Told::Story(|| {
            let fails = report(OTHER, Which::Held(0), Event::Failed(Reason::ExitCode));
            vec![submit(TWO_GPUS, 0), submit(ONE_GPU, 0), ROUND, fails]
        }),
    },
    Mutant {
        name: "a job goes back to the box that refused it",
        find: "if not (j.refused and avoid.is_refused(j, a.id)) then",
        times: 1,
        replace: "if true then",
        told: Told::Story(|| after(running(), [done(Event::Failed(Reason::Refused))])),
    },
    Mutant {
        name: "a GPU that a job has to itself is shared",
        find: "is_closed or entry.exclusive",
        times: 1,
        replace: "is_closed",
        told: Told::Story(|| after(alone(OTHER), [submit(WHOLE_GPU, 0), submit(ONE_GPU, 0)])),
    },
    Mutant {
        name: "a job that wants a GPU to itself gets one that others are on",
        find: "return device.attempts == 0",
        times: 1,
        replace: "return true",
        told: Told::Story(|| after(alone(OTHER), [submit(ONE_GPU, 0), submit(WHOLE_GPU, 0)])),
    },
];
