//! `titan jobs retry`: begins jobs anew that failed or were cancelled.

use clap::Args;
use titan_api::{
    client::Reply,
    ids::JobId,
    jobs::{JobState, RetriedJob},
};

use crate::{failure::Failure, jobs::one_by_one, session::Session, settings::Format};

/// Arguments of `titan jobs retry`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The jobs' whole ids.
    #[arg(value_name = "JOB", required = true)]
    pub jobs: Vec<JobId>,
}

/// Retries jobs, one after the other. Of those that cannot be retried it tells, and goes on.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: &Options) -> Result<(), Failure> {
    one_by_one(session, &options.jobs, async |job| {
        let retried = session.client.retry_job(job).await.map_err(session.failed(format!("retry job {job}")))?;
        print(session, &retried)?;
        if retried.state == JobState::Cancelled {
            let message = format!(
                "job {job} is cancelled again at once, since one that it waits for did not end well: retry that one first"
            );
            return Err(Failure::Broken { message, code: 6 });
        }
        Ok(())
    })
    .await
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
