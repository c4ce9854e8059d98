//! `titan models …`: the models that the fleet can be asked.

pub mod ls;

use clap::Subcommand;

use crate::{failure::Failure, session::Session};

/// What to do with models.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// List the models of the fleet.
    Ls(ls::Options),
}

/// Does it.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Ls(options) => ls::run(&session, options).await,
    }
}
