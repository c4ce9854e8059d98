//! `titan jobs ls`: the jobs of the pool, newest first.

use clap::Args;
use titan_api::{
    client::{JobFilter, Reply},
    ids::AgentId,
    jobs::{JobList, JobState},
};

use super::attempts;
use crate::{
    failure::Failure,
    page::{self, Paging},
    render::{self, units},
    session::Session,
    settings::Format,
    submit::values::parse_pair,
    watch::{self, Watching},
};

/// Arguments of `titan jobs ls`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  titan jobs ls --state running --agent box-1
  titan jobs ls --label name=nightly --limit 5
  titan jobs ls --state failed --attempts

`titan jobs ls --state failed -o name | xargs titan jobs retry` begins all of
a page anew.")]
pub struct Options {
    /// Only jobs in this state: blocked, delayed, pending, scheduled, running, completed, failed or cancelled.
    #[arg(long, value_parser = parse_state)]
    pub state: Option<JobState>,
    /// Only jobs whose latest attempt is this agent's.
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<AgentId>,
    /// Only jobs with this label.
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = parse_label)]
    pub label: Option<String>,
    /// Show each attempt that ended other than well, and why, instead of the jobs.
    #[arg(long, conflicts_with = "watch")]
    pub attempts: bool,
    /// How much of the list.
    #[command(flatten)]
    pub paging: Paging,
    /// Whether to go on looking.
    #[command(flatten)]
    pub watching: Watching,
}

fn parse_state(word: &str) -> Result<JobState, String> {
    let words = || JobState::ALL.map(JobState::as_str).join(", ");
    JobState::from_word(word).ok_or_else(|| format!("must be one of {}", words()))
}

fn parse_label(text: &str) -> Result<String, String> {
    parse_pair(text).map(|_| text.to_owned())
}

/// Lists jobs.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: Options) -> Result<(), Failure> {
    let Options { state, agent, label, attempts, paging: Paging { limit, cursor }, watching } = options;
    let has_filter = state.is_some() || agent.is_some() || label.is_some();
    let is_all = !has_filter && cursor.is_none();
    let filter = JobFilter { state, agent, label, limit: Some(limit), cursor };
    if let Some(every) = watching.watch {
        let look = async || session.client.jobs(&filter).await.map(|page| table(session, &page));
        return watch::show(session, every, "list jobs", look).await;
    }
    let page = session.client.jobs(&filter).await.map_err(session.failed("list jobs"))?;
    if attempts {
        attempts::print(session, &page).await?;
    } else {
        print(session, &page, is_all)?;
    }
    let say_more = if has_filter { page::say_more_filtered } else { page::say_more };
    say_more(session, page.next_cursor.as_deref());
    Ok(())
}

fn print(session: &Session, page: &Reply<JobList>, is_all: bool) -> Result<(), Failure> {
    match session.format {
        Format::Json => session.print_json(page.json()),
        Format::Jsonl => session.print_lines(&page.jobs),
        Format::Name => session.print(&render::lines(page.jobs.iter().map(|job| &job.id))),
        Format::Table | Format::Wide if page.jobs.is_empty() && page.next_cursor.is_none() => {
            session.remark(if is_all { "no jobs; `titan submit -- echo hi` makes one" } else { "no such jobs" });
            Ok(())
        }
        Format::Table | Format::Wide => session.print(&table(session, page)),
    }
}

fn table(session: &Session, page: &JobList) -> String {
    render::jobs::list(&page.jobs, units::now(), session.style, session.format == Format::Wide)
}
