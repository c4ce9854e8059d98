//! `titan agents rm`: removes agents for good.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;
use titan_api::ids::AgentId;

use crate::{failure::Failure, session::Session, settings::Format};

/// Arguments of `titan agents rm`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Do not ask first. Needed where standard input is not a terminal.
    #[arg(long)]
    pub yes: bool,
    /// The agents' ids.
    #[arg(value_name = "AGENT", required = true)]
    pub agents: Vec<AgentId>,
}

/// Removes agents; it stops at the first where that fails.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: &Options) -> Result<(), Failure> {
    if !options.yes {
        confirm(&options.agents)?;
    }
    for id in &options.agents {
        session.client.remove_agent(id).await.map_err(session.failed(format!("remove agent {id}")))?;
        if session.format == Format::Table {
            session.print(&format!("{id} is removed\n"))?;
        }
    }
    Ok(())
}

/// Asks whoever types; a removed agent cannot be brought back without a new join token.
fn confirm(agents: &[AgentId]) -> Result<(), Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::Usage("removing agents cannot be undone; say --yes to do it without being asked".into()));
    }
    let names = agents.iter().map(AgentId::as_str).collect::<Vec<_>>().join(", ");
    let mut stderr = std::io::stderr();
    write!(stderr, "Remove {names} for good? They can only come back with a new join token. [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(anyhow::anyhow!("nothing was removed").into()),
    }
}
