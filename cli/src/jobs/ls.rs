//! `titan jobs ls`: the jobs of the pool, newest first.

use std::slice;

use clap::Args;
use titan_api::{
    client::{ClientError, JobFilter},
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

/// Calls at most until there are as many jobs as are wanted; each looks at 500.
const CALLS: usize = 20;

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
        let look = async || page(session, &filter).await.map(|(page, _)| table(session, &page));
        return watch::show(session, every, "list jobs", look).await;
    }
    let (page, json) = page(session, &filter).await.map_err(session.failed("list jobs"))?;
    if attempts {
        attempts::print(session, &page).await?;
    } else {
        print(session, &page, json.as_deref(), is_all)?;
    }
    let say_more = if has_filter { page::say_more_filtered } else { page::say_more };
    say_more(session, page.next_cursor.as_deref());
    Ok(())
}

/// As many jobs as are wanted, and the JSON that they came in if one call brought all. With a filter a call may bring fewer and say
/// that more may follow, since it looks at so many jobs and no more.
async fn page(session: &Session, filter: &JobFilter) -> Result<(JobList, Option<String>), ClientError> {
    let first = session.client.jobs(filter).await?;
    let mut json = Some(first.json().to_owned());
    let mut page = first.into_value();
    for _ in 1..CALLS {
        let missing =
            filter.limit.unwrap_or_default().saturating_sub(u32::try_from(page.jobs.len()).unwrap_or(u32::MAX));
        if missing == 0 || page.next_cursor.is_none() {
            break;
        }
        let rest = JobFilter { limit: Some(missing), cursor: page.next_cursor, ..filter.clone() };
        let next = session.client.jobs(&rest).await?.into_value();
        page.jobs.extend(next.jobs);
        (page.next_cursor, json) = (next.next_cursor, None);
    }
    Ok((page, json))
}

fn print(session: &Session, page: &JobList, json: Option<&str>, is_all: bool) -> Result<(), Failure> {
    match session.format {
        Format::Json => match json {
            Some(json) => session.print_json(json),
            None => session.print_lines(slice::from_ref(page)),
        },
        Format::Jsonl => session.print_lines(&page.jobs),
        Format::Name => session.print(&render::lines(page.jobs.iter().map(|job| &job.id))),
        Format::Table | Format::Wide if page.jobs.is_empty() => {
            session.remark(match page.next_cursor {
                Some(_) => "no such jobs so far",
                None if is_all => "no jobs; `titan submit -- echo hi` makes one",
                None => "no such jobs",
            });
            Ok(())
        }
        Format::Table | Format::Wide => session.print(&table(session, page)),
    }
}

fn table(session: &Session, page: &JobList) -> String {
    render::jobs::list(&page.jobs, units::now(), session.style, session.format == Format::Wide)
}
