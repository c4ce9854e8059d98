//! `titan agents show`: one agent, whole.

use clap::Args;
use titan_api::{agents::Agent, client::Reply, ids::AgentId};

use crate::{
    failure::Failure,
    render::{self, units},
    session::Session,
    settings::Format,
};

/// Arguments of `titan agents show`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The agent's id.
    #[arg(value_name = "AGENT")]
    pub agent: AgentId,
}

/// Shows an agent.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: &Options) -> Result<(), Failure> {
    let doing = format!("show agent {}", options.agent);
    let agent = session.client.agent(&options.agent).await.map_err(session.failed(doing))?;
    print(session, &agent)
}

fn print(session: &Session, agent: &Reply<Agent>) -> Result<(), Failure> {
    match session.format {
        Format::Json | Format::Jsonl => session.print_json(agent.json()),
        Format::Name => session.print(&format!("{}\n", agent.id)),
        Format::Table | Format::Wide => session.print(&render::agents::whole(agent, units::now(), session.style)),
    }
}
