//! `titan jobs wait`: waits for a job to end, and says by its exit code how it did.

use std::time::Duration;

use clap::Args;
use titan_api::ids::JobId;
use tokio::time::Instant;

use crate::{
    failure::Failure,
    interrupt,
    jobs::{ended, show},
    session::Session,
    settings::Format,
};

/// Arguments of `titan jobs wait`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Give up after this time with exit code 8, for example `30s` or `5m`; the job goes on.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    /// The job's whole id.
    #[arg(value_name = "JOB")]
    pub job: JobId,
}

/// Waits for a job.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: &Options) -> Result<(), Failure> {
    let _guard = interrupt::on_ctrl_c(interrupt::detached(&options.job));
    let job = match options.timeout {
        Some(timeout) => ended::job_by(session, &options.job, Instant::now() + timeout).await?,
        None => ended::job(session, &options.job).await?,
    };
    if session.format != Format::Table {
        show::print(session, &job)?;
    }
    ended::verdict(&job)?;
    eprintln!("{}", ended::sentence(&job));
    Ok(())
}
