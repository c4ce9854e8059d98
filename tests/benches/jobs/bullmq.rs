//! The same number of jobs through `BullMQ`, the most used job queue on Redis, from the first that is added to the last
//! that is completed. It speaks with Redis itself, where we go through a coordinator and HTTP.

use std::process::Command;

use titan_tests::binaries::workspace;

use crate::{Bench, JOBS};

/// Runs it singly and in batches, and prints how much faster we are: `single` and `batched` are our jobs a second.
pub(crate) fn compare(bench: &Bench, single: f64, batched: f64) {
    let modules = workspace().join(".tools/bullmq/node_modules");
    if !modules.join("bullmq").is_dir() {
        return println!("no comparison with BullMQ: run `scripts/setup.sh --benches` where node and npm are");
    }
    // Jobs in a call, jobs that each of four workers does at once, our figure, and what it is to be of theirs.
    for (what, at_once, concurrency, ours, least) in
        [("BullMQ, single", 1, 8, single, 1), ("BullMQ, batch", 64, 64, batched, 2)]
    {
        let mut command = Command::new("node");
        command.arg(workspace().join("tests/benches/bullmq/bench.mjs")).arg(&modules);
        let numbers = [usize::from(bench.redis.port()), JOBS, at_once, concurrency];
        let output = command.args(numbers.map(|number| number.to_string())).output();
        let rate = output.ok().and_then(|out| String::from_utf8(out.stdout).ok()?.trim().parse::<f64>().ok());
        match rate {
            Some(theirs) => {
                println!("{what:<28} {theirs:>10.0}   we do {:.2} of it (to be at least {least})", ours / theirs);
            }
            None => println!("{what:<28} failed"),
        }
    }
}
