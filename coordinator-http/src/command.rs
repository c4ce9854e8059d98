//! The program: its subcommands, so that another program can have them too.

mod healthcheck;
mod keygen;
mod serve;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;

pub use self::{healthcheck::HealthcheckArgs, keygen::generate_signing_keys};
use crate::{config::RunArgs, openapi};

/// The coordinator's command line; without a subcommand it serves.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Command {
    /// What to do.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// How to serve, if there is no subcommand.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What the coordinator's program can do.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Action {
    /// Serve until SIGTERM or SIGINT (the default)
    Serve(Box<RunArgs>),
    /// Ask a coordinator on this machine whether it is healthy; exit code 0 if it is
    Healthcheck(HealthcheckArgs),
    /// Print openapi.json
    Openapi,
    /// Print fresh signing keys for `SIGNING_KEY`: keep them secret, and give the same ones to every copy
    Keygen {
        /// Write them to this new file, readable by its owner only, instead
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

/// Does what the command line says.
///
/// # Errors
/// With context: what failed and what to do.
pub async fn execute(command: Command) -> anyhow::Result<()> {
    match command.action.unwrap_or_else(|| Action::Serve(Box::new(command.run))) {
        Action::Serve(args) => serve::run(&args).await,
        Action::Healthcheck(args) => healthcheck::run(&args).await,
        Action::Openapi => print(&openapi::document().to_pretty_json()?),
        Action::Keygen { out } => match out {
            Some(path) => keep_keys(&path),
            None => print(&generate_signing_keys()?),
        },
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout().lock(), "{}", text.trim_end()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("cannot write the output"),
        _ => Ok(()),
    }
}

/// Makes keys into a file, and says what to do with it where that is in nobody's way.
fn keep_keys(path: &Path) -> anyhow::Result<()> {
    write_secret(path, &generate_signing_keys()?)?;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let said = writeln!(
        std::io::stderr().lock(),
        "new signing keys are in {0}, readable by its owner only: set SIGNING_KEY_FILE={0}, the same for every copy of the \
         coordinator",
        path.display()
    );
    // The keys are there, whether or not that could be said.
    let _ = said;
    Ok(())
}

fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("cannot make {} (it must not exist yet)", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}
