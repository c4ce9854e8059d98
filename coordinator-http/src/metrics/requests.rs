//! How long requests take, by route and outcome, and how many there are at once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{Method, StatusCode};
use titan_lua::latency::Histogram;
use titan_telemetry::page::{Kind::Gauge, Page};

/// Histograms by route template; each route has a few, by method and class of status.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    taken: RwLock<BTreeMap<String, Vec<Series>>>,
    in_flight: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Series {
    method: &'static str,
    status: &'static str,
    taken: Histogram,
}

/// A request that was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a Method,
    /// The template of its route, which no caller can choose.
    pub(crate) route: &'a str,
    pub(crate) status: StatusCode,
    /// Without what it waited for something to happen.
    pub(crate) took: Duration,
}

/// A request in flight, until this is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<AtomicU64>);

impl Requests {
    /// Counts a request until its reply begins.
    pub(crate) fn begin(&self) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(&self.in_flight))
    }

    /// Counts a request that was answered.
    pub(crate) fn add(&self, request: Request<'_>) {
        let (method, status) = (method(request.method), class(request.status));
        let add = |all: &Vec<Series>| {
            let series = all.iter().find(|s| s.method == method && s.status == status);
            series.map(|series| series.taken.add(request.took))
        };
        let known = self.taken.read().unwrap_or_else(PoisonError::into_inner).get(request.route).and_then(add);
        if known.is_some() {
            return;
        }
        let mut taken = self.taken.write().unwrap_or_else(PoisonError::into_inner);
        let all = taken.entry(request.route.to_owned()).or_default();
        if add(all).is_none() {
            let series = Series { method, status, taken: Histogram::default() };
            series.taken.add(request.took);
            all.push(series);
        }
    }

    pub(super) fn write(&self, page: &mut Page, waiting: usize) {
        page.family(
            "titan_http_requests_in_flight",
            Gauge,
            "Requests whose reply has not begun, waiting ones included.",
        );
        page.sample(&[], self.in_flight.load(Ordering::Relaxed));
        page.family("titan_http_requests_waiting", Gauge, "Requests that wait for something to happen.");
        page.sample(&[], waiting);
        page.histogram_family(
            "titan_http_request_duration_seconds",
            "Time until the reply to a request began, without what it waited for something to happen.",
        );
        for (route, all) in self.taken.read().unwrap_or_else(PoisonError::into_inner).iter() {
            for series in all {
                let labels = [("method", series.method), ("route", route.as_str()), ("status", series.status)];
                let taken = series.taken.read();
                page.histogram(&labels, &taken.buckets, taken.count, taken.sum_s);
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Callers may make methods up.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
