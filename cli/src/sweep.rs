//! `titan sweep`: settles what is overdue.

use clap::Args;

use crate::{
    failure::Failure,
    render::units::{left, now},
    session::Session,
    settings::Format,
};

/// Arguments of `titan sweep`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Leases that have run out, jobs whose time has come, agents that are silent,
jobs kept for long enough: every call that changes something settles its
share, and coordinators do so by themselves where they stay up. This is for a
pool that nobody calls, for example from a timer. It needs the admin token.")]
pub struct Options {}

/// Sweeps until nothing is overdue.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: Session, _: Options) -> Result<(), Failure> {
    let mut settled: u64 = 0;
    loop {
        let swept = session.client.sweep().await.map_err(session.failed("settle what is overdue"))?;
        settled = settled.saturating_add(swept.settled);
        if session.format.is_json() {
            session.print_json(swept.json())?;
        }
        if swept.more {
            continue;
        }
        let next = match swept.next_at {
            Some(at) if at <= now() => "; the next thing is due now".to_owned(),
            Some(at) => format!("; the next thing falls due in {}", left(at, now())),
            None => String::new(),
        };
        return match session.format {
            Format::Json | Format::Jsonl => Ok(()),
            Format::Name => session.print(&format!("{settled}\n")),
            Format::Table | Format::Wide => session.print(&format!("settled {settled}{next}\n")),
        };
    }
}
