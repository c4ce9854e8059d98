//! `titan submit --batch`: many jobs from a file, accepted whole or not at all.

use std::{io::Read, path::Path};

use anyhow::Context as _;
use titan_api::{
    client::Reply,
    jobs::{SubmitBatch, SubmitJob, SubmittedBatch},
    limits,
};

use super::once::{self, Call};
use crate::{
    failure::Failure,
    render::{
        self,
        jobs::{command_line, state},
        table::{Column, Table},
    },
    session::Session,
    settings::Format,
};

/// The jobs that a file describes: a JSON array of them, or one after the other, each as `POST /api/v1/jobs` takes it; or
/// the body of `POST /api/v1/jobs/batch`.
///
/// # Errors
/// [`Failure`] if the file cannot be read, or is no such file; it says where.
pub fn read(file: &Path) -> Result<SubmitBatch, Failure> {
    let name = if is_stdin(file) { "standard input".to_owned() } else { file.display().to_string() };
    let text = text(file, &name)?;
    let jobs = parse(&text).map_err(|why| {
        let why = why.to_string();
        Failure::Usage(format!("{name} does not hold jobs: {why}; `titan submit --dry-run …` prints one"))
    })?;
    match jobs.len() {
        0 => Err(Failure::Usage(format!("{name} holds no jobs"))),
        n if n > limits::BATCH => {
            let most = limits::BATCH;
            Err(Failure::Usage(format!("{name} holds {n} jobs, and a batch takes {most} at most; split it")))
        }
        _ => Ok(SubmitBatch { jobs }),
    }
}

/// Whether the file is standard input.
#[must_use]
pub fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

fn text(file: &Path, name: &str) -> Result<String, Failure> {
    let most = limits::BATCH_BODY_BYTES as u64 + 1;
    let mut text = String::new();
    let read = if is_stdin(file) {
        std::io::stdin().lock().take(most).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(most).read_to_string(&mut text))
    };
    read.with_context(|| format!("{name} cannot be read"))?;
    if text.len() > limits::BATCH_BODY_BYTES {
        return Err(Failure::Usage(format!("{name} is longer than 8 MiB, which is the most for a batch; split it")));
    }
    Ok(text)
}

fn parse(text: &str) -> serde_json::Result<Vec<SubmitJob>> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text);
    }
    let one_by_one: serde_json::Result<Vec<_>> = serde_json::Deserializer::from_str(text).into_iter().collect();
    // The body of the interface's own call will do too; of two errors that about single jobs is the one to tell.
    one_by_one.or_else(|error| serde_json::from_str(text).map(|batch: SubmitBatch| batch.jobs).map_err(|_| error))
}

/// Submits the jobs and prints their ids. It does not wait for them.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, batch: &SubmitBatch, key: Option<String>) -> Result<(), Failure> {
    let count = batch.jobs.len();
    let jobs = if count == 1 { "the job".to_owned() } else { format!("the {count} jobs") };
    let call = Call::new(key, format!("submit {jobs}"), None)?;
    let submitted = once::until_answered(session, &call, async |key| session.client.submit_jobs_once(batch, key).await);
    let submitted = submitted.await?;
    print(session, batch, &submitted)
}

fn print(session: &Session, batch: &SubmitBatch, submitted: &Reply<SubmittedBatch>) -> Result<(), Failure> {
    match session.format {
        Format::Json => session.print_json(submitted.json()),
        Format::Jsonl => session.print_lines(&submitted.jobs),
        Format::Name => session.print(&render::lines(submitted.jobs.iter().map(|job| &job.id))),
        Format::Table | Format::Wide => session.print(&table(session, batch, submitted)),
    }
}

/// The program that a job runs, or the model that it asks.
fn asked_for(job: &SubmitJob) -> String {
    match &job.inference {
        Some(inference) => format!("ask {}", inference.model),
        None => command_line(&job.process.command),
    }
}

fn table(session: &Session, batch: &SubmitBatch, submitted: &SubmittedBatch) -> String {
    let mut table = Table::new(&[
        Column::new("ID"),
        Column::new("STATE"),
        Column::new("REF").shrinks(),
        Column::new("AGENT").shrinks().yields(0),
        Column::new("COMMAND").shrinks().yields(1),
    ]);
    for (job, spec) in submitted.jobs.iter().zip(&batch.jobs) {
        table.row(vec![
            job.id.as_str().into(),
            state(job.state),
            spec.reference.as_deref().unwrap_or("-").into(),
            job.agent_id.as_ref().map_or("-", |id| id.as_str()).into(),
            asked_for(spec).into(),
        ]);
    }
    table.render(session.style)
}
