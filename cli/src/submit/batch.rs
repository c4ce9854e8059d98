//! `titan submit --batch`: many jobs from a file, accepted whole or not at all.

use std::{io::Read, path::Path};

use anyhow::Context as _;
use titan_api::{
    client::Reply,
    jobs::{SubmitBatch, SubmitJob, SubmittedBatch},
    limits,
};

use super::{
    entry::{self, Entry},
    once::{self, Call},
    pieces::{Piece, Wrong, pieces, words},
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
    /// The line on which each begins.
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
    let batch = parse(&text).map_err(|wrong| match wrong {
        Wrong::Json(why) => {
            Failure::Usage(format!("{name} is not JSON: {why}; `titan submit --dry-run …` prints a job"))
        }
        Wrong::Shape(why) => {
            Failure::Usage(format!("{name} does not hold jobs: {why}; `titan submit --dry-run …` prints one"))
        }
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
fn parse(text: &str) -> Result<Batch, Wrong> {
    let pieces = pieces(text)?;
    let jobs = pieces.iter().enumerate().map(|(index, piece)| job(piece, index + 1)).collect::<Result<_, _>>()?;
    Ok(Batch { body: SubmitBatch { jobs }, lines: pieces.iter().map(|piece| piece.line).collect() })
}

fn job(piece: &Piece<'_>, number: usize) -> Result<SubmitJob, Wrong> {
    let entry = Entry::new(number, piece.line);
    // A list would be taken for the fields in their order.
    if !piece.text.starts_with('{') {
        return Err(Wrong::Shape(format!("{entry}: a job is an object, as in {{\"kind\": …}}")));
    }
    let mut json = serde_json::Deserializer::from_str(piece.text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| Wrong::Shape(unread(entry, &error)))
}

/// Where a job cannot be read, and why.
fn unread(entry: Entry, error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let what = words(error.inner());
    let within = error.inner().line().saturating_sub(1);
    let line = if within == 0 { String::new() } else { format!(" on line {}", entry.line() + within) };
    // The words say which field is unknown, so the path to it need not.
    let place = entry.enter_path(error.path(), !what.starts_with("unknown field"));
    format!("{place}{line}: {}", in_plain_words(&what))
}

/// The same words, without the names that Rust has for types.
fn in_plain_words(what: &str) -> String {
    let Some((found, wanted)) = what.rsplit_once(", expected ") else { return what.to_owned() };
    let whole = |least: i64, most: u64| format!("a whole number from {least} to {most}");
    let wanted = match wanted {
        "u8" => whole(0, u8::MAX.into()),
        "u16" => whole(0, u16::MAX.into()),
        "u32" => whole(0, u32::MAX.into()),
        "u64" | "usize" => "a whole number from 0 on".to_owned(),
        "i32" => whole(i32::MIN.into(), i32::MAX.unsigned_abs().into()),
        "i64" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "an object".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        wanted if wanted.starts_with("struct ") => "an object".to_owned(),
        wanted => wanted.to_owned(),
    };
    format!("{found}, expected {wanted}")
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
