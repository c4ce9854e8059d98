//! The wrong scripts, and what shows that they are wrong.

use titan_api::jobs::Reason;

use super::super::steps::{Beat, Event, Number, Run, Step, Which};

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
    Step::Report { agent, reports: vec![(which, event)] }
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
        name: "a completed attempt keeps what it has reserved",
        find: "  agent.release(a, j.id)\n  job:put(j, 'lease_until', nil)\n  job:put(j, 'exit', 0)",
        times: 1,
        replace: "  job:put(j, 'lease_until', nil)\n  job:put(j, 'exit', 0)",
        told: Told::Story(|| after(running(), [done(Event::Completed)])),
    },
    Mutant {
        name: "the end of an attempt frees what others have reserved too",
        find: "redis.call('HDEL', key('live', a.id), job_id)",
        times: 1,
        replace: "redis.call('DEL', key('live', a.id))",
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
        find: "vram = vram_of(j, a, devices), devices = devices",
        times: 1,
        replace: "vram = 0, devices = devices",
        told: Told::Story(|| vec![submit(TWO_GPUS, 0)]),
    },
    Mutant {
        name: "a repeated claim gets other leases than the first time",
        find: "number == a.claim and given() or {}",
        times: 1,
        replace: "{}",
        told: Told::Story(|| after(running(), [submit(TWO_GPUS, 0), claim(Number::Same, false)])),
    },
    Mutant {
        name: "a claim with a lower number is served",
        find: "number < a.claim",
        times: 1,
        replace: "false",
        told: Told::Story(|| vec![claim(Number::Next, false), submit(TWO_GPUS, 0), claim(Number::Lower, false)]),
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
        find: "pool.output_max = cmsgpack.unpack(f[3])\n",
        times: 1,
        replace: "pool.output_max = cmsgpack.unpack(f[3])\n  pool.grace = 0\n",
        told: Told::Story(|| after(running(), [rounds(6, 1 << BIG), Step::Pass { ms: 5_000 }])),
    },
    Mutant {
        name: "a silence of everybody is held against them",
        find: "if pool.now < pool.amnesty then",
        times: 1,
        replace: "if false then",
        told: Told::Story(|| after(running(), [Step::Pass { ms: 100_000 }])),
    },
    Mutant {
        name: "a draining agent gets work",
        find: " and not a.draining and",
        times: 1,
        replace: " and",
        told: Told::Story(|| vec![Step::Drain { agent: BIG, draining: true }, submit(TWO_GPUS, 0)]),
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
        name: "a job is placed where it has no room",
        find: "local devices = fit.now(a, j, room.beside(a))\n        if devices and not (j.avoid",
        times: 1,
        replace: "local devices = {}\n        if devices and not (j.avoid",
        told: Told::Story(|| after(alone(BIG), [MANY_CPUS; 3].map(|need| submit(need, 0)))),
    },
    Mutant {
        name: "urgent jobs go last",
        find: "return -priority * ",
        times: 1,
        replace: "return priority * ",
        told: Told::Story(|| {
            let jobs = [submit(ANY, 0), ROUND, submit(ANY, -5), submit(ANY, 7)];
            after(alone(SMALL), jobs.into_iter().chain([report(SMALL, Which::Held(0), Event::Completed)]))
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
        name: "a lease whose reply is on its way goes back",
        find: " and entry.claim <= last_claim",
        times: 1,
        replace: "",
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
    Mutant {
        name: "a key's jobs all get the same tag",
        find: "found[2] and found[2] + 1 or turn",
        times: 1,
        replace: "turn",
        told: Told::Story(|| after(alone(SMALL), turns())),
    },
    Mutant {
        name: "keys do not take turns",
        find: "(j.owner or '')",
        times: 1,
        replace: "''",
        told: Told::Story(|| after(alone(SMALL), turns())),
    },
    Mutant {
        name: "nobody notices whose turn it was",
        find: "'GT', int(j.order), (members_of(j)))",
        times: 1,
        replace: "'GT', int(first_in_line(j)), (members_of(j)))",
        told: Told::Story(|| after(alone(SMALL), turns())),
    },
    Mutant {
        name: "an agent that is held takes what comes",
        find: "a.held and job:load(a.held)\n  if not holder then\n    return left",
        times: 1,
        replace: "nil\n  if not holder then\n    return left",
        told: Told::Story(|| passed_over([submit(ONE_GPU, 0)])),
    },
    Mutant {
        name: "a hold keeps all devices of the agent",
        find: "if kept[device.uuid] then",
        times: 1,
        replace: "if true then",
        told: Told::Story(|| after(waiting_for_one_gpu(0), [submit(ONE_GPU, 0)])),
    },
    Mutant {
        name: "a hold keeps the device whose jobs have run for longest",
        find: "x.begun > y.begun or",
        times: 1,
        replace: "x.begun < y.begun or",
        told: Told::Story(|| after(waiting_for_one_gpu(10_000), [submit(ONE_GPU, 0)])),
    },
    Mutant {
        name: "a hold keeps the same device for ever",
        find: "if pool.now >= again then",
        times: 1,
        replace: "if false then",
        told: Told::Story(|| {
            let second = [submit(ONE_GPU, 0), ROUND, report(BIG, Which::Held(1), Event::Completed), rounds(7, 0)];
            after(after(waiting_for_one_gpu(0), second), [submit(ONE_GPU, 0)])
        }),
    },
    Mutant {
        name: "what is more urgent may not have what a hold keeps",
        find: "(holder == j or holder.prio < j.prio)",
        times: 1,
        replace: "holder == j",
        told: Told::Story(|| passed_over([submit(ONE_GPU, 7)])),
    },
    Mutant {
        name: "a hold counts for what is more urgent",
        find: "(holder == j or j.prio > holder.prio)",
        times: 1,
        replace: "holder == j",
        told: Told::Story(|| passed_over([submit(ONE_GPU, 7)])),
    },
    Mutant {
        name: "a job that is passed over holds nothing",
        find: "pool.now - j.waits >= AFTER_MS",
        times: 1,
        replace: "false",
        told: Told::Story(|| passed_over([])),
    },
    Mutant {
        name: "a hold outlasts its job",
        find: "  if j.holds then\n    held.free(j)\n  end\nend",
        times: 1,
        replace: "end",
        told: Told::Story(|| passed_over([Step::Cancel { job: 2 }])),
    },
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
    Mutant {
        name: "a join token is used more often than it may be",
        find: "if tonumber(f[5]) >= tonumber(f[3]) then",
        times: 1,
        replace: "if false then",
        told: Told::JoinToken,
    },
];
