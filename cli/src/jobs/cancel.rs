//! `titan jobs cancel`: asks for the end of jobs.

use clap::Args;
use titan_api::{
    client::Reply,
    ids::JobId,
    jobs::{CancelledJob, JobState},
};

use crate::{failure::Failure, jobs::one_by_one, session::Session, settings::Format};

/// Arguments of `titan jobs cancel`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The jobs' whole ids.
    #[arg(value_name = "JOB", required = true)]
    pub jobs: Vec<JobId>,
}

/// Cancels jobs, one after the other. Of those that cannot be cancelled it tells, and goes on.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: &Options) -> Result<(), Failure> {
    one_by_one(session, &options.jobs, async |job| {
        let cancelled = session.client.cancel_job(job).await.map_err(session.failed(format!("cancel job {job}")))?;
        print(session, &cancelled)
    })
    .await
}

fn print(session: &Session, job: &Reply<CancelledJob>) -> Result<(), Failure> {
    match session.format {
        Format::Json | Format::Jsonl => session.print_json(job.json()),
        Format::Name => session.print(&format!("{}\n", job.id)),
        Format::Table | Format::Wide if job.cancelling => {
            session.print(&format!("{} is being cancelled by its agent\n", job.id))
        }
        Format::Table | Format::Wide if matches!(job.state, JobState::Completed | JobState::Failed) => {
            session.print(&format!("{} had ended before: it is {}\n", job.id, job.state))
        }
        Format::Table | Format::Wide => session.print(&format!("{} {}\n", job.id, job.state)),
    }
}
