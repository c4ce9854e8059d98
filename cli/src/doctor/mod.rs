//! `titan doctor`: looks at everything between this program and a working pool, and says what to do.

mod calls;
mod config;
mod finding;

use clap::Args;
use titan_agent::Findings;

use self::finding::of_failure;
use crate::{
    failure::Failure,
    session::Session,
    settings::{Format, Global},
    target::Target,
};

/// Arguments of `titan doctor`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
It changes nothing. It looks at what is configured here, at the way to the
coordinator, at TLS, clocks and versions, at what the key may do, at the
coordinator's store, and at the pool's agents. The exit code is 0 if nothing
failed.")]
pub struct Options {}

/// Looks at everything, prints what was found, and fails if something is broken.
///
/// # Errors
/// [`Failure::Broken`] with the exit code that fits the first thing that is broken.
pub async fn run(_: Options, global: Global) -> Result<(), Failure> {
    let mut findings = Findings::default();
    match Target::find(&global) {
        Ok(target) => {
            config::look(&target, &mut findings);
            match Session::to(target.clone(), &global) {
                Ok(session) => calls::look(&session, &target, &mut findings).await,
                Err(failure) => findings.add(of_failure("configuration", &failure)),
            }
        }
        Err(failure) => findings.add(of_failure("configuration", &failure)),
    }
    print(&findings, &global)?;
    finding::verdict(&findings)
}

fn print(findings: &Findings, global: &Global) -> Result<(), Failure> {
    use crate::{
        render::{lines, style::Style},
        session::{print, print_json_lines},
    };
    let all = findings.all();
    match global.output {
        Format::Json => print_json_lines(&[all]),
        Format::Jsonl => print_json_lines(all),
        Format::Name => print(&lines(all.iter().map(|finding| finding.check))),
        Format::Table | Format::Wide => print(&finding::render(findings, Style::of_stdout(global))),
    }
}
