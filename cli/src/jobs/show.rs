//! `titan jobs show`: one job, whole.

use clap::Args;
use titan_api::{
    agents::AgentState,
    client::Reply,
    ids::JobId,
    jobs::{Job, JobState},
};

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
    print(session, &job)?;
    tell_of_agent(session, &job).await;
    Ok(())
}

/// What nothing is heard of stays as it was last heard of, so it is told if the agent of a running job is not well. Not every key
/// may see agents.
async fn tell_of_agent(session: &Session, job: &Job) {
    let Some(id) = job.agent_id.as_ref().filter(|_| session.format.is_table() && job.state == JobState::Running) else {
        return;
    };
    if let Ok(agent) = session.client.agent(id).await
        && agent.state == AgentState::Offline
    {
        let silent = units::age(agent.last_seen_at, units::now());
        session.remark(&format!(
            "note: {id} is offline, and was last heard of {silent} ago: how the job is now is not known"
        ));
    }
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
