//! `titan agent doctor`: looks at everything that this box needs to be an agent, and says what to do. It changes nothing.

mod accounts;
mod backends;
mod devices;
mod finding;
mod gateway;
mod limits;
mod local;
mod settings;
mod state;
mod way;

use std::{io::Write, process::ExitCode, time::Duration};

use anyhow::Context;

use crate::config::{Config, RunArgs};
pub use finding::{Finding, Findings, Verdict};

/// A driver that hangs is not waited for.
const STRAGGLERS: Duration = Duration::from_millis(100);

/// Looks, prints what was found, and gives the exit code: 0 if nothing failed.
///
/// # Errors
/// It cannot be printed.
pub(crate) fn run(args: &RunArgs, json: bool) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime could be made")?;
    let findings = runtime.block_on(look(args));
    runtime.shutdown_timeout(STRAGGLERS);
    let text = if json { findings.json()? } else { findings.text(columns()) };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if findings.broken().next().is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Columns of the terminal; none if this is shown to none.
fn columns() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0))
}

async fn look(args: &RunArgs) -> Findings {
    let mut findings = Findings::default();
    let config = settings(args, &mut findings);
    let running = match &config {
        Some(config) => local::look(config, &mut findings).await,
        None => None,
    };
    if let Some(config) = &config {
        state::look(config, &mut findings);
        way::look(config, &mut findings).await;
        accounts::look(config, &mut findings);
        backends::look(config, running.as_ref(), &mut findings).await;
        gateway::look(config, running.as_ref(), &mut findings);
    }
    devices::look(config.as_ref().and_then(|config| config.nvml_library.clone()), &mut findings).await;
    limits::look(config.as_ref(), running.as_ref(), &mut findings);
    findings
}

/// The settings, if they make sense; the box is looked at either way.
fn settings(args: &RunArgs, findings: &mut Findings) -> Option<Config> {
    let checked = args.clone().with_file().and_then(|args| Config::check(&args));
    match checked {
        Ok(config) => {
            settings::look(args, &config, findings);
            Some(config)
        }
        Err(e) => {
            findings.failed(
                "settings",
                format!("{e:#}"),
                "mend that first, the rest is looked at then; give the agent's own options and environment here too, such as \
                 --config FILE",
            );
            None
        }
    }
}
