//! `titan agents ls`: the agents of the pool, by id.

use clap::Args;
use titan_api::{agents::AgentList, client::Reply};

use crate::{
    failure::Failure,
    page::{self, Paging},
    render::{self, units},
    session::Session,
    settings::Format,
    watch::{self, Watching},
};

/// Arguments of `titan agents ls`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How much of the list.
    #[command(flatten)]
    pub paging: Paging,
    /// Whether to go on looking.
    #[command(flatten)]
    pub watching: Watching,
}

/// Lists agents.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: Options) -> Result<(), Failure> {
    let Paging { limit, cursor } = options.paging;
    let look = async || session.client.agents(Some(limit), cursor.as_deref()).await;
    if let Some(every) = options.watching.watch {
        let look = async || look().await.map(|page| table(session, &page));
        return watch::show(session, every, "list agents", look).await;
    }
    let page = look().await.map_err(session.failed("list agents"))?;
    print(session, &page)?;
    page::say_more(session, page.next_cursor.as_deref());
    Ok(())
}

fn print(session: &Session, page: &Reply<AgentList>) -> Result<(), Failure> {
    match session.format {
        Format::Json => session.print_json(page.json()),
        Format::Jsonl => session.print_lines(&page.agents),
        Format::Name => session.print(&render::lines(page.agents.iter().map(|agent| &agent.id))),
        Format::Table | Format::Wide if page.agents.is_empty() => {
            session.remark("no agents; `titan agents add` says how to add one");
            Ok(())
        }
        Format::Table | Format::Wide => session.print(&table(session, page)),
    }
}

fn table(session: &Session, page: &AgentList) -> String {
    render::agents::list(&page.agents, units::now(), session.style, session.format == Format::Wide)
}
