//! `titan jobs cancel`: asks for the end of jobs.

use clap::Args;
use titan_api::{client::Reply, ids::JobId, jobs::CancelledJob};

use crate::{failure::Failure, session::Session, settings::Format};

/// Arguments of `titan jobs cancel`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The jobs' whole ids.
    #[arg(value_name = "JOB", required = true)]
    pub jobs: Vec<JobId>,
}

/// Cancels jobs, one after the other; it stops at the first that cannot be cancelled.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: &Options) -> Result<(), Failure> {
    for job in &options.jobs {
        let doing = format!("cancel job {job}");
        let cancelled = session.client.cancel_job(job).await.map_err(session.failed(doing))?;
        print(session, &cancelled)?;
    }
    Ok(())
}

fn print(session: &Session, job: &Reply<CancelledJob>) -> Result<(), Failure> {
    match session.format {
        Format::Json | Format::Jsonl => session.print_json(job.json()),
        Format::Name => session.print(&format!("{}\n", job.id)),
        Format::Table | Format::Wide if job.cancelling => {
            session.print(&format!("{} is being cancelled by its agent\n", job.id))
        }
        Format::Table | Format::Wide => session.print(&format!("{} {}\n", job.id, job.state)),
    }
}
