//! `titan agents ls`: the agents of the pool, by id.

use clap::Args;
use titan_api::{agents::AgentList, client::Reply};

use crate::{
    failure::Failure,
    render::{self, units},
    session::Session,
    settings::Format,
};

/// Arguments of `titan agents ls`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How many at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: u32,
    /// Where to go on, as the page before says.
    #[arg(long)]
    pub cursor: Option<String>,
}

/// Lists agents.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: Options) -> Result<(), Failure> {
    let page = session.client.agents(Some(options.limit), options.cursor.as_deref()).await;
    let page = page.map_err(session.failed("list agents"))?;
    print(session, &page)?;
    if let Some(cursor) = page.next_cursor.as_ref().filter(|_| session.format != Format::Json) {
        eprintln!("more follow; go on with --cursor {}", render::clean(cursor));
    }
    Ok(())
}

fn print(session: &Session, page: &Reply<AgentList>) -> Result<(), Failure> {
    match session.format {
        Format::Json => session.print_json(page.json()),
        Format::Jsonl => session.print_lines(&page.agents),
        Format::Name => session.print(&render::lines(page.agents.iter().map(|agent| &agent.id))),
        Format::Table if page.agents.is_empty() => {
            eprintln!("no agents; `titan agent run --help` says how to add one");
            Ok(())
        }
        Format::Table => session.print(&render::agents::list(&page.agents, units::now(), session.style)),
    }
}
