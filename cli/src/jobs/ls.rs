//! `titan jobs ls`: the jobs of the pool, newest first.

use clap::Args;
use titan_api::{
    client::{JobFilter, Reply},
    ids::AgentId,
    jobs::{JobList, JobState},
};

use crate::{
    failure::Failure,
    render::{self, units},
    session::Session,
    settings::Format,
};

/// Arguments of `titan jobs ls`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Only jobs in this state: pending, scheduled, running, completed, failed or cancelled.
    #[arg(long, value_parser = parse_state)]
    pub state: Option<JobState>,
    /// Only jobs whose latest attempt is this agent's.
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<AgentId>,
    /// How many at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: u32,
    /// Where to go on, as the page before says.
    #[arg(long)]
    pub cursor: Option<String>,
}

fn parse_state(word: &str) -> Result<JobState, String> {
    let words = || JobState::ALL.map(JobState::as_str).join(", ");
    JobState::from_word(word).ok_or_else(|| format!("must be one of {}", words()))
}

/// Lists jobs.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: Options) -> Result<(), Failure> {
    let Options { state, agent, limit, cursor } = options;
    let filter = JobFilter { state, agent, limit: Some(limit), cursor };
    let page = session.client.jobs(&filter).await.map_err(session.failed("list jobs"))?;
    print(session, &page)?;
    if let Some(cursor) = page.next_cursor.as_ref().filter(|_| session.format != Format::Json) {
        eprintln!("more follow; go on with --cursor {}", render::clean(cursor));
    }
    Ok(())
}

fn print(session: &Session, page: &Reply<JobList>) -> Result<(), Failure> {
    match session.format {
        Format::Json => session.print_json(page.json()),
        Format::Jsonl => session.print_lines(&page.jobs),
        Format::Name => session.print(&render::lines(page.jobs.iter().map(|job| &job.id))),
        Format::Table if page.jobs.is_empty() && page.next_cursor.is_none() => {
            eprintln!("no jobs; `titan submit -- echo hi` makes one");
            Ok(())
        }
        Format::Table => session.print(&render::jobs::list(&page.jobs, units::now(), session.style)),
    }
}
