//! `titan scheduler get`: the profile, the strategy and the weights.

use clap::Args;
use titan_api::{client::Reply, scheduler::Scheduler};

use crate::{failure::Failure, render::table::pairs, session::Session, settings::Format};

/// Arguments of `titan scheduler get`.
#[derive(Debug, Clone, Args)]
pub struct Options {}

/// Shows them.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, _: &Options) -> Result<(), Failure> {
    let scheduler = session.client.scheduler().await.map_err(session.failed("read how agents are chosen"))?;
    print(session, &scheduler)
}

/// Prints them the way that was asked for.
///
/// # Errors
/// [`Failure`] if it cannot be written.
pub(super) fn print(session: &Session, scheduler: &Reply<Scheduler>) -> Result<(), Failure> {
    match session.format {
        Format::Json | Format::Jsonl => session.print_json(scheduler.json()),
        Format::Name => session.print(&format!("{}\n", scheduler.profile.as_str())),
        Format::Table | Format::Wide => {
            let w = scheduler.weights;
            let weights = [("vram", w.vram), ("load", w.load), ("rtt", w.rtt), ("performance", w.performance)];
            let weights = weights.into_iter().chain([("cost", w.cost)]).map(|(name, n)| format!("{name}={n}"));
            let lines = [
                ("profile", scheduler.profile.as_str().into()),
                ("strategy", scheduler.strategy.as_str().into()),
                ("weights", weights.collect::<Vec<_>>().join(",").into()),
                ("version", scheduler.version.to_string().into()),
            ];
            session.print(&pairs(&lines, session.style))
        }
    }
}
