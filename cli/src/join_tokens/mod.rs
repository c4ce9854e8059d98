//! `titan join-tokens …`: what lets machines join a pool, for administrators.

pub mod create;
pub mod ls;
pub mod rm;

use clap::Subcommand;

use crate::{failure::Failure, session::Session};

/// What to do with join tokens.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// List the pool's join tokens, and who has joined with them.
    Ls(ls::Options),
    /// Make a join token, and show it this once. `titan agents add` says what to do with it, too.
    Create(create::Options),
    /// Revoke join tokens; agents that have joined stay.
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
