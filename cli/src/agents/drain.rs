//! `titan agents drain` and `titan agents resume`: no new work for agents, and work again.

use std::time::Duration;

use clap::Args;
use titan_api::{agents::Agent, client::Reply, ids::AgentId};
use tokio::time::{Instant, timeout_at};

use crate::{failure::Failure, interrupt, patience, session::Session, settings::Format};

/// Between two looks at what an agent still has.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Arguments of `titan agents drain`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Wait until the agents have no jobs any more.
    #[arg(long)]
    pub wait: bool,
    /// Give up waiting after this time with exit code 8, for example `30m`; the agents stay drained.
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    /// The agents' ids.
    #[arg(value_name = "AGENT", required = true)]
    pub agents: Vec<AgentId>,
}

/// Arguments of `titan agents resume`.
#[derive(Debug, Clone, Args)]
pub struct ResumeOptions {
    /// The agents' ids.
    #[arg(value_name = "AGENT", required = true)]
    pub agents: Vec<AgentId>,
}

/// Drains agents; it stops at the first where that fails.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: &Options) -> Result<(), Failure> {
    for id in &options.agents {
        let drained = session.client.drain_agent(id).await.map_err(session.failed(format!("drain agent {id}")))?;
        print(session, &drained)?;
    }
    if !options.wait {
        return Ok(());
    }
    let _guard =
        interrupt::say_on_ctrl_c("\nThe agents stay drained; `titan agents resume` lets them work again.".into())?;
    let deadline = options.timeout.map(|timeout| Instant::now() + timeout);
    for id in &options.agents {
        wait(session, id, deadline).await?;
        session.remark(&format!("{id} has no jobs any more"));
    }
    Ok(())
}

async fn wait(session: &Session, id: &AgentId, deadline: Option<Instant>) -> Result<(), Failure> {
    loop {
        let answer = patience::answer(session, async || session.client.agent(id).await);
        let agent = match deadline {
            Some(deadline) => timeout_at(deadline, answer).await.map_err(|_| {
                Failure::TimedOut(format!(
                    "the coordinator did not say within that time whether agent {id} has jobs; it stays drained"
                ))
            })?,
            None => answer.await,
        };
        let agent = agent.map_err(session.failed(format!("wait for agent {id}")))?;
        if agent.live_attempts == 0 {
            return Ok(());
        }
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            let left = agent.live_attempts;
            return Err(Failure::TimedOut(format!(
                "agent {id} still has {left} jobs after that time; it stays drained"
            )));
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// Lets drained agents take work again; it stops at the first where that fails.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn resume(session: &Session, options: &ResumeOptions) -> Result<(), Failure> {
    for id in &options.agents {
        let resumed = session.client.resume_agent(id).await.map_err(session.failed(format!("resume agent {id}")))?;
        print(session, &resumed)?;
    }
    Ok(())
}

fn print(session: &Session, agent: &Reply<Agent>) -> Result<(), Failure> {
    match session.format {
        Format::Json | Format::Jsonl => session.print_json(agent.json()),
        Format::Name => session.print(&format!("{}\n", agent.id)),
        Format::Table | Format::Wide if agent.draining => {
            let jobs = agent.live_attempts;
            session.print(&format!(
                "{} drains; it still has {jobs} job{}\n",
                agent.id,
                if jobs == 1 { "" } else { "s" }
            ))
        }
        Format::Table | Format::Wide => session.print(&format!("{} takes work\n", agent.id)),
    }
}
