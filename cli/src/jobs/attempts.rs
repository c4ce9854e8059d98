//! `titan jobs ls --attempts`: why the attempts of jobs ended other than well.

use futures_util::{StreamExt, TryStreamExt, stream};
use titan_api::{
    client::Reply,
    ids::JobId,
    jobs::{Job, JobList},
};

use crate::{
    failure::Failure,
    render::{self, lines, units},
    session::Session,
    settings::Format,
};

/// How many jobs are asked for at a time.
const AT_ONCE: usize = 8;

/// Asks for each job of the page and prints its attempts; programs get the whole jobs, one a line.
pub(super) async fn print(session: &Session, page: &JobList) -> Result<(), Failure> {
    let calls = page.jobs.iter().map(|job| ask(session, &job.id));
    let jobs: Vec<Option<Reply<Job>>> = stream::iter(calls).buffered(AT_ONCE).try_collect().await?;
    let jobs: Vec<_> = jobs.into_iter().flatten().collect();
    match session.format {
        Format::Json | Format::Jsonl => session.print(&lines(jobs.iter().map(|job| job.json().trim_end()))),
        Format::Name => session.print(&lines(jobs.iter().map(|job| &job.id))),
        Format::Table | Format::Wide if jobs.iter().all(|job| job.failures.is_empty()) => {
            session.remark("no attempt of these jobs ended other than well");
            Ok(())
        }
        Format::Table | Format::Wide => {
            session.print(&render::jobs::attempts(jobs.iter().map(|job| &**job), units::now(), session.style))
        }
    }
}

/// One job; none if it was forgotten since the list was made.
async fn ask(session: &Session, id: &JobId) -> Result<Option<Reply<Job>>, Failure> {
    match session.client.job(id, None).await {
        Ok(job) => Ok(Some(job)),
        Err(error) if error.problem().is_some_and(|problem| problem.status == 404) => Ok(None),
        Err(error) => Err(session.failed(format!("read the attempts of job {id}"))(error)),
    }
}
