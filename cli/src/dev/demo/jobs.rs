//! What the demonstration runs, and what each job writes if all goes well.

use titan_api::jobs::{JobKind, ProcessSpec, SubmitJob};

use crate::render::lines;

/// One job, and the bytes that it writes to each stream.
#[derive(Debug)]
pub(super) struct DemoJob {
    pub(super) name: &'static str,
    pub(super) spec: SubmitJob,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// The jobs: enough of them that every agent gets some.
pub(super) fn all(agents: usize) -> Vec<DemoJob> {
    let mut jobs = vec![ticks(), streams(), stdin(), compute(), bytes(), long()];
    // Each further agent gets something to do for a while.
    jobs.extend((2..agents).map(|_| ticks()));
    jobs
}

/// Something slow that writes as it goes.
fn ticks() -> DemoJob {
    let script = "for i in 1 2 3 4 5; do echo \"tick $i of 5\"; sleep 0.4; done";
    let stdout = lines((1..=5).map(|i| format!("tick {i} of 5")));
    shell("ticks", script, stdout, "")
}

/// Both streams, interleaved.
fn streams() -> DemoJob {
    let script = "for i in 1 2 3; do echo \"result $i\"; echo \"remark $i\" >&2; sleep 0.5; done";
    let written = |word: &str| lines((1..=3).map(|i| format!("{word} {i}")));
    shell("streams", script, written("result"), &written("remark"))
}

/// Standard input and a variable of the environment.
fn stdin() -> DemoJob {
    let mut job = shell("stdin", "echo \"$GREETING\"; tr a-z A-Z", "hello\nA LINE FROM AFAR\n", "");
    job.spec.process.stdin = Some("a line from afar\n".to_owned());
    job.spec.process.env.insert("GREETING".to_owned(), "hello".to_owned());
    job
}

/// Something that keeps a CPU busy.
fn compute() -> DemoJob {
    let script = "i=0; s=0; while [ $i -lt 300000 ]; do i=$((i+1)); s=$((s+i)); done; echo \"the sum is $s\"";
    shell("compute", script, "the sum is 45000150000\n", "")
}

/// Bytes that are no text.
fn bytes() -> DemoJob {
    let mut job = shell("bytes", "printf '\\377\\376\\001 no text\\n'; sleep 1; printf 'the end' >&2", "", "the end");
    job.stdout = b"\xff\xfe\x01 no text\n".to_vec();
    job
}

/// More than one chunk of output.
fn long() -> DemoJob {
    let script = "i=1; while [ $i -le 20000 ]; do echo \"line $i\"; i=$((i+1)); done";
    shell("long", script, lines((1..=20_000).map(|i| format!("line {i}"))), "")
}

fn shell(name: &'static str, script: &str, stdout: impl Into<String>, stderr: &str) -> DemoJob {
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    let spec = SubmitJob {
        kind: JobKind::Process,
        process: ProcessSpec { command, ..ProcessSpec::default() },
        labels: [("demo".to_owned(), name.to_owned())].into(),
        ..SubmitJob::default()
    };
    DemoJob { name, spec, stdout: stdout.into().into_bytes(), stderr: stderr.as_bytes().to_vec() }
}
