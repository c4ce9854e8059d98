//! `titan jobs logs`: what a job has written, and with `-f` what it writes from now on.

use std::io::{stderr, stdout};

use clap::Args;
use titan_api::{
    client::{OutputFrom, OutputNews, Reply},
    ids::JobId,
    output::Output,
};

use crate::{
    failure::Failure,
    follow::{Follower, Patience},
    interrupt,
    jobs::ended,
    printer::Printer,
    session::Session,
    settings::Format,
};

/// Arguments of `titan jobs logs`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Go on until the job has ended; then the exit code says how it ended. Ctrl-C stops looking and leaves it running.
    #[arg(short, long)]
    pub follow: bool,
    /// The job's whole id.
    #[arg(value_name = "JOB")]
    pub job: JobId,
}

/// Prints a job's output: its standard output to standard output, its standard error to standard error.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: &Options) -> Result<(), Failure> {
    if options.follow {
        let _guard = interrupt::on_ctrl_c(interrupt::detached(&options.job));
        follow(session, &options.job).await?;
        let job = ended::job(session, &options.job).await?;
        return ended::verdict(&job);
    }
    let mut printer = Printer::new(stdout().lock(), stderr().lock());
    let mut from = OutputFrom::default();
    loop {
        let doing = format!("read the output of job {}", options.job);
        let piece = session.client.output(&options.job, from).await.map_err(session.failed(doing))?;
        show(session, &mut printer, &piece)?;
        if piece.complete || piece.chunks.is_empty() {
            return Ok(());
        }
        from = OutputFrom { attempt: Some(piece.attempt), offset: piece.next_offset };
    }
}

fn show<O: std::io::Write, E: std::io::Write>(
    session: &Session,
    printer: &mut Printer<O, E>,
    piece: &Reply<Output>,
) -> Result<(), Failure> {
    match session.format {
        Format::Table | Format::Name => printer.take_output(piece),
        Format::Json | Format::Jsonl => session.print_json(piece.json()),
    }
}

/// Follows a job's output to its end.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn follow(session: &Session, job: &JobId) -> Result<(), Failure> {
    let mut printer = Printer::new(stdout(), stderr());
    Follower::new(session, job, Patience::default())
        .run(|event| match (session.format, &event.what) {
            (Format::Table | Format::Name, news) => printer.take(news),
            (Format::Json | Format::Jsonl, OutputNews::Output(_)) => session.print_json(&event.json),
            (Format::Json | Format::Jsonl, _) => Ok(()),
        })
        .await
}
