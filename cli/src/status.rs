//! `titan status`: the pool at a glance.

use clap::Args;
use titan_api::{
    client::Reply,
    health::{Readiness, Verdict},
    status::{AgentCounts, JobCounts, Status},
};

use crate::{
    failure::Failure,
    render::{
        clean,
        style::{Style, Tone},
        table::{Cell, pairs},
    },
    session::Session,
    settings::Format,
};

/// Arguments of `titan status`.
#[derive(Debug, Clone, Args)]
pub struct Options {}

/// Shows the pool: counts, and what the coordinator says against its store.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: Session, _: Options) -> Result<(), Failure> {
    let status = session.client.status(false).await.map_err(session.failed("read the pool's status"))?;
    match session.format {
        Format::Json | Format::Jsonl => session.print_json(status.json()),
        Format::Name => session.print(&format!("{}\n", status.pool)),
        Format::Table | Format::Wide => print(&session, &status).await,
    }
}

async fn print(session: &Session, status: &Reply<Status>) -> Result<(), Failure> {
    let health = session.client.health().await.map_err(session.failed("ask the coordinator for its version"))?;
    let ready = session.client.ready().await.map_err(session.failed("ask whether the coordinator is ready"))?;
    let base = session.client.base();
    session.print(&render(status, base, &health.version, session.style))?;
    session.print(&remarks(&ready, session.style))
}

/// The counts.
#[must_use]
pub fn render(status: &Status, url: &str, version: &str, style: Style) -> String {
    pairs(
        &[
            ("coordinator", format!("{url}, version {version}").into()),
            ("pool", status.pool.as_str().into()),
            ("agents", agents(&status.agent_counts)),
            ("jobs", jobs(&status.job_counts).into()),
        ],
        style,
    )
}

fn agents(counts: &AgentCounts) -> Cell {
    let parts = [
        (counts.healthy, "healthy"),
        (counts.degraded, "degraded"),
        (counts.half_open, "on trial"),
        (counts.offline, "offline"),
        (counts.draining, "draining"),
    ];
    let shown: Vec<_> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let tone = if counts.healthy == counts.total && counts.total > 0 { Tone::Good } else { Tone::Warning };
    if shown.is_empty() {
        return Cell::toned("none", Tone::Warning);
    }
    Cell::toned(&format!("{}: {}", counts.total, shown.join(", ")), tone)
}

fn jobs(counts: &JobCounts) -> String {
    let JobCounts { blocked, delayed, pending, scheduled, running, ended } = counts;
    let rare = [(blocked, "blocked"), (delayed, "delayed")].into_iter().filter(|(n, _)| **n > 0);
    let usual = [(pending, "pending"), (scheduled, "scheduled"), (running, "running"), (ended, "ended")];
    let parts: Vec<_> = rare.chain(usual).map(|(n, what)| format!("{n} {what}")).collect();
    parts.join(", ")
}

/// What is not as it should be, one line each.
#[must_use]
pub fn remarks(ready: &Readiness, style: Style) -> String {
    let line = |check: &titan_api::health::Check| {
        let (word, tone) = match check.verdict {
            Verdict::Ok => return None,
            Verdict::Warning => ("warning", Tone::Warning),
            Verdict::Failed => ("failed", Tone::Bad),
            Verdict::Unknown => ("unknown", Tone::Faint),
        };
        let name = check.name.replace('_', " ");
        Some(format!("{} {}: {}\n", style.paint(word, tone), clean(&name), clean(&check.detail)))
    };
    ready.checks.iter().filter_map(line).collect()
}
