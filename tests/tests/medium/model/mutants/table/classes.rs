//! Wrong in when a class of jobs is dropped, and in what is done when it is needed again.

use super::*;

/// A job waits for its time for longer than its class is known without being used.
fn begins_after_its_class_was_dropped() -> Vec<Step> {
    vec![order(1, 700_000), Step::Pass { ms: 650_000 }, rounds(8, 0)]
}

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a class that nobody uses is known for longer",
        find: "local DROPPED_AFTER_MS = 600000\n",
        times: 1,
        replace: "local DROPPED_AFTER_MS = 900000\n",
        told: Told::Story(begins_after_its_class_was_dropped),
    },
    Mutant {
        name: "a class that was dropped is not made again",
        find: "  class.need(j)\n  line.join(j)",
        times: 1,
        replace: "  line.join(j)",
        told: Told::Story(begins_after_its_class_was_dropped),
    },
];
