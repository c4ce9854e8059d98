//! `titan context …`: the coordinators that `titan login` has kept, and which of them is called.

pub mod ls;
pub mod rm;
pub mod switch;

use clap::Subcommand;

use crate::{failure::Failure, settings::Global};

/// What to do with contexts.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// List contexts; the current one is marked.
    Ls,
    /// Choose the context that is used from now on.
    Use(switch::Options),
    /// Forget contexts and their keys.
    Rm(rm::Options),
}

/// Does it.
///
/// # Errors
/// [`Failure`] if a file cannot be read or written, or there is no such context.
pub fn run(command: &Command, global: &Global) -> Result<(), Failure> {
    match command {
        Command::Ls => ls::run(global),
        Command::Use(options) => switch::run(options),
        Command::Rm(options) => rm::run(options),
    }
}
