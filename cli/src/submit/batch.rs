//! `titan submit --batch`: many jobs from a file, accepted whole or not at all.

use std::{io::Read, path::Path};

use anyhow::Context as _;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use titan_api::{
    client::Reply,
    jobs::{SubmitBatch, SubmitJob, SubmittedBatch},
    limits,
};

use super::{
    entry::{self, Entry},
    once::{self, Call},
};
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

/// Jobs of a file.
#[derive(Debug)]
pub struct Batch {
    /// The jobs.
    pub body: SubmitBatch,
    /// The line on which each begins, where they stand one after the other; else nothing.
    lines: Vec<usize>,
}

/// The jobs that a file describes: a JSON array of them, or one after the other, each as `POST /api/v1/jobs` takes it; or
/// the body of `POST /api/v1/jobs/batch`.
///
/// # Errors
/// [`Failure`] if the file cannot be read, or is no such file; it says where.
pub fn read(file: &Path) -> Result<Batch, Failure> {
    let name = if is_stdin(file) { "standard input".to_owned() } else { file.display().to_string() };
    let text = text(file, &name)?;
    let batch = parse(&text).map_err(|why| {
        Failure::Usage(format!("{name} does not hold jobs: {why}; `titan submit --dry-run …` prints one"))
    })?;
    match batch.body.jobs.len() {
        0 => Err(Failure::Usage(format!("{name} holds no jobs"))),
        n if n > limits::BATCH => {
            let most = limits::BATCH;
            Err(Failure::Usage(format!("{name} holds {n} jobs, and a batch takes {most} at most; split it")))
        }
        _ => Ok(batch),
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

/// The jobs, or what is wrong and where.
fn parse(text: &str) -> Result<Batch, String> {
    if text.trim_start().starts_with('[') {
        let jobs = list(text)?;
        return Ok(Batch { body: SubmitBatch { jobs }, lines: Vec::new() });
    }
    // The body of the interface's own call will do too.
    if serde_json::from_str::<HasJobs>(text).is_ok() {
        return Ok(Batch { body: list(text)?, lines: Vec::new() });
    }
    let jobs = one_by_one(text)?;
    Ok(Batch { body: SubmitBatch { jobs }, lines: lines(text) })
}

/// What tells the body of the interface's own call from a job.
#[derive(Deserialize)]
struct HasJobs {
    #[serde(rename = "jobs")]
    _jobs: IgnoredAny,
}

fn list<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| wrong(&error, None))?;
    json.end().map_err(|error| error.to_string()).map(|()| read)
}

fn one_by_one(text: &str) -> Result<Vec<SubmitJob>, String> {
    let (mut json, mut jobs) = (serde_json::Deserializer::from_str(text), Vec::new());
    while json.end().is_err() {
        let job = serde_path_to_error::deserialize(&mut json);
        jobs.push(job.map_err(|error| wrong(&error, Some(jobs.len() + 1)))?);
    }
    Ok(jobs)
}

fn wrong(error: &serde_path_to_error::Error<serde_json::Error>, number: Option<usize>) -> String {
    let (inner, text) = (error.inner(), error.inner().to_string());
    // What is no JSON has a line and a column, and no field.
    if !inner.is_data() {
        return text;
    }
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    format!("{}: {what}", Entry::of_path(error.path(), number, inner.line()))
}

/// The lines on which values that stand one after the other begin.
fn lines(text: &str) -> Vec<usize> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let (mut lines, mut line, mut at) = (Vec::new(), 1, 0);
    loop {
        let end = values.byte_offset();
        let Some(Ok(_)) = values.next() else { return lines };
        let begin = end + text[end..].len() - text[end..].trim_start().len();
        line += text[at..begin].matches('\n').count();
        at = begin;
        lines.push(line);
    }
}

/// Submits the jobs and prints their ids. It does not wait for them.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, batch: &Batch, key: Option<String>) -> Result<(), Failure> {
    let Batch { body: batch, lines } = batch;
    let count = batch.jobs.len();
    let jobs = if count == 1 { "the job".to_owned() } else { format!("the {count} jobs") };
    let call = Call::new(key, format!("submit {jobs}"), None)?;
    let submitted = once::until_answered(session, &call, async |key| session.client.submit_jobs_once(batch, key).await);
    let submitted = submitted.await.map_err(|failure| entry::in_file(failure, lines))?;
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
