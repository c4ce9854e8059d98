//! `titan context rm`: forgets contexts and their keys. The keys stay good until somebody revokes them.

use clap::Args;

use crate::{
    failure::Failure,
    files::contexts::{Contexts, Name},
    target::unknown_context,
};

/// Arguments of `titan context rm`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The contexts.
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<Name>,
}

/// Forgets them, all or none.
///
/// # Errors
/// [`Failure`] if there is no such context, or the file cannot be written.
pub fn run(options: &Options) -> Result<(), Failure> {
    let mut contexts = Contexts::load()?;
    for name in &options.names {
        if contexts.contexts.remove(name).is_none() {
            return Err(unknown_context(name, &contexts));
        }
    }
    let was_current = contexts.current.take_if(|current| options.names.contains(current));
    contexts.save()?;
    for name in &options.names {
        eprintln!("{name} is forgotten; its key stays good until an administrator revokes it (`titan keys rm`)");
    }
    if was_current.is_some() && !contexts.contexts.is_empty() {
        eprintln!("no context is current now; `titan context use NAME` chooses one");
    }
    Ok(())
}
