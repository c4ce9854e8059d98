//! `titan jobs retry`: begins jobs anew that failed or were cancelled.

use clap::Args;
use titan_api::{
    client::Reply,
    ids::JobId,
    jobs::{JobState, RetriedJob},
};

use crate::{failure::Failure, session::Session, settings::Format};

/// Arguments of `titan jobs retry`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The jobs' whole ids.
    #[arg(value_name = "JOB", required = true)]
    pub jobs: Vec<JobId>,
}

/// Retries jobs, one after the other; it stops at the first that cannot be retried.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: &Options) -> Result<(), Failure> {
    for job in &options.jobs {
        let doing = format!("retry job {job}");
        let retried = session.client.retry_job(job).await.map_err(session.failed(doing))?;
        print(session, &retried)?;
    }
    Ok(())
}

/// A job that has not ended is left as it was; one that was retried does not run yet.
fn outcome(state: JobState) -> String {
    match state {
        JobState::Running => format!("{state}: it has not ended, so nothing was to be retried"),
        other => other.to_string(),
    }
}

fn print(session: &Session, job: &Reply<RetriedJob>) -> Result<(), Failure> {
    match session.format {
        Format::Json | Format::Jsonl => session.print_json(job.json()),
        Format::Name => session.print(&format!("{}\n", job.id)),
        Format::Table | Format::Wide => session.print(&format!("{} {}\n", job.id, outcome(job.state))),
    }
}
