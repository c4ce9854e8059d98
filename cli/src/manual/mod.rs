//! `titan manual`, which is not shown: writes what is generated from the command line's definition. `make docs` calls it,
//! and whoever packages the program.

pub mod reference;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::{failure::Failure, help};

/// Arguments of `titan manual`.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = true)]
pub struct Options {
    /// Write a manual page for every command into this folder.
    #[arg(long, value_name = "FOLDER")]
    pub pages: Option<PathBuf>,
    /// Write the reference into this Markdown file, in place of the one that is there.
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
}

/// Writes what was asked for.
///
/// # Errors
/// [`Failure`] if a file cannot be read or written.
pub fn run(options: &Options) -> Result<(), Failure> {
    if let Some(folder) = &options.pages {
        let doing = || format!("the manual pages cannot be written into {}", folder.display());
        std::fs::create_dir_all(folder).with_context(doing)?;
        clap_mangen::generate_to(help::command(), folder).with_context(doing)?;
    }
    if let Some(file) = &options.reference {
        write_reference(file)?;
    }
    Ok(())
}

fn write_reference(file: &Path) -> Result<(), Failure> {
    let doing = || format!("the reference in {} cannot be written", file.display());
    let text = std::fs::read_to_string(file).with_context(doing)?;
    let text = reference::replaced(&text).with_context(doing)?;
    Ok(std::fs::write(file, text).with_context(doing)?)
}
