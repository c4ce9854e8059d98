//! Whether what came back is what was written.

use anyhow::{Context as _, bail};
use titan_api::{
    client::{Client, OutputFrom},
    ids::JobId,
    jobs::{Job, JobState},
};

use super::jobs::DemoJob;
use crate::printer::Printer;

/// An error unless the job completed.
pub(super) fn ended_well(job: &DemoJob, end: &Job) -> anyhow::Result<()> {
    if end.state != JobState::Completed {
        bail!("the job {}: {}", job.name, crate::jobs::ended::sentence(end));
    }
    Ok(())
}

/// Reads a job's output from the start and compares each stream, byte by byte.
pub(super) async fn output_equals(client: &Client, id: &JobId, job: &DemoJob) -> anyhow::Result<()> {
    let mut printer = Printer::new(Vec::new(), Vec::new());
    let mut from = OutputFrom::default();
    loop {
        let piece =
            client.output(id, from).await.with_context(|| format!("the output of {} cannot be read", job.name))?;
        printer.take_output(&piece)?;
        if piece.complete {
            break;
        }
        if piece.next_offset == from.offset {
            bail!("the output of the job {} stops at byte {} and is not complete", job.name, from.offset);
        }
        from = OutputFrom::after(&piece);
    }
    let (stdout, stderr) = printer.into_streams();
    equals(job.name, "standard output", &stdout, &job.stdout)?;
    equals(job.name, "standard error", &stderr, &job.stderr)
}

fn equals(job: &str, stream: &str, read: &[u8], written: &[u8]) -> anyhow::Result<()> {
    if read == written {
        return Ok(());
    }
    let at = read.iter().zip(written).take_while(|(a, b)| a == b).count();
    bail!(
        "the {stream} of the job {job} is not what it wrote: {} bytes came back of {}, and they differ from byte {at} on",
        read.len(),
        written.len()
    )
}
