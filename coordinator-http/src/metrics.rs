//! Figures for Prometheus: of this copy, counted here, and of pools, read from Redis.
//!
//! No label takes a value that a caller could choose: methods, routes, classes of status and words of ours only, and pools,
//! which administrators make.

mod fleet;
mod process;
mod requests;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use titan_lua::Store;
pub(crate) use titan_telemetry::page::CONTENT_TYPE;
use titan_telemetry::page::{
    Kind::{Counter, Gauge},
    Page,
};

pub(crate) use self::{
    fleet::{Fleet, Pools},
    requests::{InFlight, Request, Requests},
};
use crate::{data_loss::DataLoss, load::Load, state::AppState};

/// The figures of this copy.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) requests: Requests,
    pub(crate) fleet: Fleet,
    /// Jobs that were submitted here, by what became of them.
    pub(crate) submitted: Tally<&'static str>,
    /// Reports of agents that came here, by kind and answer.
    pub(crate) reports: Tally<(&'static str, &'static str)>,
    /// What Redis has lost of what agents run.
    pub(crate) data_loss: DataLoss,
    /// Requests that were refused since their key had used up a quota, by its name.
    pub(crate) over_quota: Tally<&'static str>,
}

/// Counters of one kind, by words of ours.
#[derive(Debug)]
pub(crate) struct Tally<W>(Mutex<BTreeMap<W, u64>>);

impl<W> Default for Tally<W> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<W: Ord + Clone> Tally<W> {
    /// Counts one more.
    pub(crate) fn count(&self, words: W) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(words).or_default() += 1;
    }

    /// How many of each there were.
    pub(crate) fn read(&self) -> BTreeMap<W, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All figures, and of the pools those that were asked for.
pub(crate) async fn page(state: &AppState, pools: Pools<'_>) -> Page {
    let mut page = Page::default();
    page.family("titan_build_info", Gauge, "The version of this coordinator; always 1.");
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    process::write(&mut page, state.started_s);
    state.metrics.requests.write(&mut page, state.waiters.waiting());
    load(&state.load, &mut page);
    tallies(&state.metrics, &mut page);
    if let Some(exporter) = &state.exporter {
        let (sent, lost) = exporter.counts();
        page.family("titan_spans_total", Counter, "Spans for the collector, by what became of them.");
        page.sample(&[("outcome", "sent")], sent);
        page.sample(&[("outcome", "lost")], lost);
    }
    let fleet = state.metrics.fleet.read(&state.store, pools).await;
    store(&state.store, fleet.is_some(), &mut page);
    if let Some(pools) = fleet {
        fleet::write(&pools, &mut page);
    }
    page
}

fn load(load: &Load, page: &mut Page) {
    page.family("titan_http_requests_working", Gauge, "Requests that are worked on, as CONCURRENCY_LIMIT counts them.");
    page.sample(&[], load.busy());
    page.family(
        "titan_http_requests_shed_total",
        Counter,
        "Requests refused since there was too much to do, by class.",
    );
    for (class, count) in load.refused.read() {
        page.sample(&[("class", class)], count);
    }
}

fn tallies(metrics: &Metrics, page: &mut Page) {
    page.family("titan_jobs_submitted_total", Counter, "Jobs submitted to this copy, by what became of them.");
    for (outcome, count) in metrics.submitted.read() {
        page.sample(&[("outcome", outcome)], count);
    }
    page.family("titan_reports_total", Counter, "Reports of agents to this copy, repeats included, by its answer.");
    for ((kind, answer), count) in metrics.reports.read() {
        page.sample(&[("kind", kind), ("answer", answer)], count);
    }
    page.family("titan_attempts_lost_total", Counter, "Attempts that agents ran and that Redis had lost.");
    page.sample(&[], metrics.data_loss.attempts());
    page.family("titan_quota_refusals_total", Counter, "Requests refused since their API key had used up a quota.");
    for (policy, count) in metrics.over_quota.read() {
        page.sample(&[("policy", policy)], count);
    }
}

fn store(store: &Store, is_up: bool, page: &mut Page) {
    page.family("titan_store_up", Gauge, "Whether Redis answered just now.");
    page.sample(&[], u64::from(is_up));
    let (latency, unanswered) = store.latency();
    page.histogram_family("titan_store_command_duration_seconds", "Time until Redis answered a command or a script.");
    page.histogram(&[], &latency.buckets, latency.count, latency.sum_s);
    page.family("titan_store_unanswered_total", Counter, "Commands to which Redis gave no answer.");
    page.sample(&[], unanswered);
}
