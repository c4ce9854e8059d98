//! The same number of jobs through `BullMQ`, the most used job queue on Redis, from the first that is added to the last
//! that is completed. It speaks with Redis itself, where we go through a coordinator and HTTP.

use std::process::Command;

use titan_tests::binaries::workspace;

use crate::{Bench, JOBS};

/// Jobs a second, as many in a call and at once on each of four workers as said; none if it can't run here.
pub(crate) fn run(bench: &Bench, at_once: usize, concurrency: usize) -> Option<f64> {
    let modules = workspace().join(".tools/bullmq/node_modules");
    let mut command = Command::new("node");
    command.arg(workspace().join("tests/benches/bullmq/bench.mjs")).arg(&modules);
    let numbers = [usize::from(bench.redis.port()), JOBS, at_once, concurrency];
    let output = command.args(numbers.map(|number| number.to_string())).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
