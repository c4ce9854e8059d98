//! `titan keys …`: API keys, for administrators.

pub mod create;
pub mod ls;
pub mod rm;

use clap::Subcommand;

use crate::{failure::Failure, session::Session};

/// What to do with API keys.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// List the pool's API keys; what they are is never shown again.
    Ls(ls::Options),
    /// Make an API key, and show it this once.
    Create(create::Options),
    /// Revoke API keys: they are good for nothing from then on.
    Rm(rm::Options),
}

/// Does it.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Ls(options) => ls::run(&session, options).await,
        Command::Create(options) => create::run(&session, options).await,
        Command::Rm(options) => rm::run(&session, &options).await,
    }
}
