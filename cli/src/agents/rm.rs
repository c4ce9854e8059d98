//! `titan agents rm`: removes agents for good.

use clap::Args;
use titan_api::ids::AgentId;

use crate::{failure::Failure, prompt, session::Session};

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
        let had = session.client.agent(id).await.map_or(0, |agent| agent.live_attempts);
        session.client.remove_agent(id).await.map_err(session.failed(format!("remove agent {id}")))?;
        if session.format.is_table() {
            let rest = match had {
                0 => String::new(),
                1 => "; what it had goes elsewhere once its lease is over".to_owned(),
                _ => format!("; what it had goes elsewhere once its {had} leases are over"),
            };
            session.print(&format!("{id} is removed{rest}\n"))?;
        }
    }
    Ok(())
}

/// A removed agent cannot be brought back without a new join token.
fn confirm(agents: &[AgentId]) -> Result<(), Failure> {
    let names = agents.iter().map(AgentId::as_str).collect::<Vec<_>>().join(", ");
    prompt::confirm(
        &format!("Remove {names} for good? They can only come back with a new join token."),
        "removing agents cannot be undone; say --yes to do it without being asked",
    )
}
