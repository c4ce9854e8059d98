//! Wrong in whose turn it is.

use super::*;

pub(super) const MUTANTS: &[Mutant] = &[
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
        name: "a key's jobs all get the same tag",
        find: "last and last + 1 or known.turn",
        times: 1,
        replace: "known.turn",
        told: Told::Story(|| after(alone(SMALL), turns())),
    },
    Mutant {
        name: "keys do not take turns",
        find: "return j.owner or ''",
        times: 1,
        replace: "return ''",
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
];
