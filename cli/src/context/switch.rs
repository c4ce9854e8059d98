//! `titan context use`: chooses the context that is used from now on.

use clap::Args;

use crate::{
    failure::Failure,
    files::contexts::{Contexts, Name},
    target::{of_dev, unknown_context, variable},
};

/// Arguments of `titan context use`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The context; `dev` is a running `titan dev`.
    #[arg(value_name = "NAME")]
    pub name: Name,
}

/// Makes it the current one.
///
/// # Errors
/// [`Failure`] if there is no such context, or the file cannot be written.
pub fn run(options: &Options) -> Result<(), Failure> {
    let mut contexts = Contexts::load()?;
    let name = &options.name;
    let url = match contexts.contexts.get(name) {
        Some(saved) => saved.url.clone(),
        None if name.is_dev() => "whichever `titan dev` runs here".to_owned(),
        None => return Err(unknown_context(name, &contexts)),
    };
    contexts.current = Some(name.clone());
    contexts.save()?;
    eprintln!("from now on: {name}, {url}");
    if name.is_dev() && of_dev()?.is_none() {
        eprintln!("note: no `titan dev` runs here now");
    }
    for variable in ["TITAN_URL", "TITAN_CONTEXT"] {
        if self::variable(variable).is_some() {
            eprintln!("note: {variable} is set here, and goes before the context");
        }
    }
    Ok(())
}
