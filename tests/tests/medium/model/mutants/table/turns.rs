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
        find: "if a.held or not agent.takes_work(a) then",
        times: 1,
        replace: "if not agent.takes_work(a) then",
        told: Told::Story(|| passed_over([submit(ANY, 0)])),
    },
    Mutant {
        name: "a hold counts for what is more urgent",
        find: "(holder == j or j.prio > holder.prio)",
        times: 1,
        replace: "holder == j",
        told: Told::Story(|| passed_over([submit(ANY, 7)])),
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
