//! `titan jobs wait`: waits for jobs to end, and says by its exit code how they did.

use std::time::Duration;

use clap::Args;
use titan_api::ids::JobId;
use tokio::time::Instant;

use crate::{
    failure::Failure,
    interrupt,
    jobs::{ended, show},
    progress::Progress,
    session::Session,
};

/// Arguments of `titan jobs wait`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Give up after this time with exit code 8, for example `30s` or `5m`; the jobs go on.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    /// How to tell a shell how they ended.
    #[command(flatten)]
    pub exit: ended::ExitCode,
    /// The jobs' whole ids.
    #[arg(value_name = "JOB", required = true)]
    pub jobs: Vec<JobId>,
}

/// Waits until all of the jobs have ended. The exit code is that of the first, as they were named, which ended other
/// than well.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: &Options) -> Result<(), Failure> {
    let deadline = options.timeout.map(|timeout| Instant::now() + timeout);
    let mut verdict = Ok(());
    for (n, id) in options.jobs.iter().enumerate() {
        let _guard = interrupt::leave_on_ctrl_c(&options.jobs[n..])?;
        let job = {
            let _progress = Progress::of_job(session, id);
            ended::job_by(session, id, deadline).await?
        };
        let ended = ended::verdict(&job, options.exit);
        if !session.format.is_table() {
            show::print(session, &job)?;
        } else if ended.is_ok() || verdict.is_err() {
            // The first that did not end well is told of at the end, as the failure of the command.
            session.remark(&ended::sentence(&job));
        }
        verdict = verdict.and(ended);
    }
    verdict
}
