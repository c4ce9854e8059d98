//! `titan events …`: what happens in the pool, and what others are told by it.

pub mod publish;
pub mod read;

use clap::{Args, Subcommand};

use crate::{failure::Failure, session::Session};

/// Arguments of `titan events`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    /// What to do other than to read.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to read.
    #[command(flatten)]
    pub read: read::What,
}

/// What to do with events other than to read them.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Publish an event.
    Publish(publish::Options),
}

/// Does it.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: Session, options: Options) -> Result<(), Failure> {
    match options.command {
        Some(Command::Publish(options)) => publish::run(&session, options).await,
        None => read::run(&session, options.read).await,
    }
}
