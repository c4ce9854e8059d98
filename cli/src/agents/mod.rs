//! `titan agents …`: looking at agents, draining and removing them.

pub mod add;
pub mod drain;
pub mod ls;
pub mod rm;
pub mod show;

use clap::Subcommand;

use crate::{failure::Failure, session::Session};

/// What to do with agents.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Make a join token, and say what to type on a new machine.
    Add(add::Options),
    /// List agents.
    Ls(ls::Options),
    /// Show one agent.
    Show(show::Options),
    /// Give agents no new work; what runs goes on.
    Drain(drain::Options),
    /// Give drained agents work again.
    Resume(drain::ResumeOptions),
    /// Remove agents for good: they may not come back with the credential that they have.
    Rm(rm::Options),
}

/// Does it.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Add(options) => add::run(&session, options).await,
        Command::Ls(options) => ls::run(&session, options).await,
        Command::Show(options) => show::run(&session, &options).await,
        Command::Drain(options) => drain::run(&session, &options).await,
        Command::Resume(options) => drain::resume(&session, &options).await,
        Command::Rm(options) => rm::run(&session, &options).await,
    }
}
