//! `titan scheduler …`: by what the pool's agents are chosen.

pub mod get;
pub mod set;

use clap::Subcommand;

use crate::{failure::Failure, session::Session};

/// What to do with the scheduler.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Show the profile, the strategy and the weights.
    Get(get::Options),
    /// Choose others; what is not named stays as it is.
    Set(set::Options),
}

/// Does it.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Get(options) => get::run(&session, &options).await,
        Command::Set(options) => set::run(&session, options).await,
    }
}
