//! `titan models …`: what the fleet can answer, and getting more of it.

pub mod ls;
pub mod pull;

use clap::Subcommand;

use crate::{failure::Failure, session::Session};

/// What to do with models.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// List the models that agents serve.
    Ls(ls::Options),
    /// Have an agent get a model, by the Ollama on its box.
    Pull(pull::Options),
}

/// Does it.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Ls(options) => ls::run(&session, options).await,
        Command::Pull(options) => pull::run(&session, options).await,
    }
}
