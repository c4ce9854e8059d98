//! `titan jobs show`: one job, whole.

use clap::Args;
use titan_api::{client::Reply, ids::JobId, jobs::Job};

use crate::{
    failure::Failure,
    render::{self, units},
    session::Session,
    settings::Format,
};

/// Arguments of `titan jobs show`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The job's whole id.
    #[arg(value_name = "JOB")]
    pub job: JobId,
}

/// Shows a job.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: &Options) -> Result<(), Failure> {
    let doing = format!("show job {}", options.job);
    let job = session.client.job(&options.job, None).await.map_err(session.failed(doing))?;
    print(session, &job)
}

/// Prints a job the way that was asked for.
///
/// # Errors
/// [`Failure`] if it cannot be written.
pub fn print(session: &Session, job: &Reply<Job>) -> Result<(), Failure> {
    match session.format {
        Format::Json | Format::Jsonl => session.print_json(job.json()),
        Format::Name => session.print(&format!("{}\n", job.id)),
        Format::Table | Format::Wide => session.print(&render::jobs::whole(job, units::now(), session.style)),
    }
}
