//! `titan agents drain` and `titan agents resume`: no new work for agents, and work again.

use clap::Args;
use titan_api::{agents::Agent, client::Reply, ids::AgentId};

use crate::{failure::Failure, session::Session, settings::Format};

/// Arguments of `titan agents drain` and `titan agents resume`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The agents' ids.
    #[arg(value_name = "AGENT", required = true)]
    pub agents: Vec<AgentId>,
}

/// Drains agents or lets them take work again; it stops at the first where that fails.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: &Options, draining: bool) -> Result<(), Failure> {
    for id in &options.agents {
        let (doing, done) = if draining {
            (format!("drain agent {id}"), session.client.drain_agent(id).await)
        } else {
            (format!("resume agent {id}"), session.client.resume_agent(id).await)
        };
        print(session, &done.map_err(session.failed(doing))?)?;
    }
    Ok(())
}

fn print(session: &Session, agent: &Reply<Agent>) -> Result<(), Failure> {
    match session.format {
        Format::Json | Format::Jsonl => session.print_json(agent.json()),
        Format::Name => session.print(&format!("{}\n", agent.id)),
        Format::Table if agent.draining => {
            session.print(&format!("{} drains; it still has {} jobs\n", agent.id, agent.live_attempts))
        }
        Format::Table => session.print(&format!("{} takes work\n", agent.id)),
    }
}
