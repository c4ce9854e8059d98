//! `titan jobs logs`: what a job has written, and with `-f` what it writes from now on.

use std::io::{stderr, stdout};

use clap::Args;
use titan_api::{
    client::{OutputFrom, OutputNews, Reply},
    ids::JobId,
    output::Output,
    time::Since,
};

use super::tail;
use crate::{
    failure::Failure,
    follow::{After, Follower},
    interrupt,
    jobs::ended,
    patience::Patience,
    printer::Printer,
    progress::Progress,
    session::Session,
    since::parse_since,
};

/// Arguments of `titan jobs logs`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Go on until the job has ended; then the exit code says how it ended. Ctrl-C stops looking and leaves it running.
    #[arg(short, long)]
    pub follow: bool,
    /// Begin with the last so many lines of the latest attempt; 0 with `-f` shows what is written from now on.
    #[arg(short = 'n', long, value_name = "LINES", allow_negative_numbers = true)]
    pub tail: Option<usize>,
    /// Only what was written from then on: for so long (10m, 2h30m), or since a time (2026-11-21T06:18:45Z). It is as exact as
    /// the times that are kept: up to 15 seconds or 64 bytes more are shown, never less.
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub since: Option<Since>,
    /// How to tell a shell how it ended.
    #[command(flatten)]
    pub exit: ended::ExitCode,
    /// The job's whole id.
    #[arg(value_name = "JOB")]
    pub job: JobId,
}

/// Prints a job's output: its standard output to standard output, its standard error to standard error.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: &Options) -> Result<(), Failure> {
    let id = &options.job;
    if options.tail.is_some() && session.format.is_json() {
        return Err(Failure::Usage("--tail counts lines of text; it has no meaning with -o json or jsonl".to_owned()));
    }
    let _guard = if options.follow { Some(interrupt::detach_on_ctrl_c(id)?) } else { None };
    let after = match options.tail {
        Some(lines) => tail::print(session, id, lines, options.since).await?,
        None if options.follow => None,
        None => return all(session, id, options.since).await,
    };
    if !options.follow {
        return Ok(());
    }
    let mut progress = if after.is_none() { Progress::of_job(session, id) } else { Progress::none() };
    let from = After { event: after, since: options.since };
    follow(session, id, from, &mut progress).await?;
    progress.stop();
    ended::verdict(&*ended::job(session, id).await?, options.exit)
}

/// Prints what is there.
async fn all(session: &Session, id: &JobId, since: Option<Since>) -> Result<(), Failure> {
    let mut printer = Printer::new(stdout().lock(), stderr().lock());
    if since.is_some() {
        printer.begin_late();
    }
    let mut from = OutputFrom { since, ..OutputFrom::default() };
    loop {
        let piece = piece(session, id, from).await?;
        if session.format.is_json() {
            session.print_json(piece.json())?;
        } else {
            printer.take_output(&piece)?;
        }
        match next(&piece) {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
}

/// Reads a piece of a job's output.
///
/// # Errors
/// [`Failure`], as for every command.
pub(super) async fn piece(session: &Session, id: &JobId, from: OutputFrom) -> Result<Reply<Output>, Failure> {
    let doing = format!("read the output of job {id}");
    session.client.output(id, from).await.map_err(session.failed(doing))
}

/// Where the next piece begins; none if this was the last one so far.
pub(super) fn next(piece: &Output) -> Option<OutputFrom> {
    let is_last = piece.complete || piece.chunks.is_empty();
    (!is_last).then(|| OutputFrom::after(piece))
}

/// Follows a job's output to its end, from its start or after something; what shows its progress gives way to the first
/// thing that is written.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn follow(session: &Session, job: &JobId, from: After, progress: &mut Progress) -> Result<(), Failure> {
    let mut printer = Printer::new(stdout(), stderr());
    if let Some((attempt, mark, offset)) = from.event.as_deref().and_then(tail::position) {
        printer.begin_at(attempt, mark, offset);
    } else if from.since.is_some() {
        printer.begin_late();
    }
    Follower::new(session, job, Patience::default())
        .after(from)
        .run(|event| {
            if matches!(event.what, OutputNews::Output(_) | OutputNews::Gap(_)) {
                progress.stop();
            }
            match (session.format.is_json(), &event.what) {
                (false, news) => printer.take(news),
                (true, OutputNews::Output(_)) => session.print_json(&event.json),
                (true, _) => Ok(()),
            }
        })
        .await
}
