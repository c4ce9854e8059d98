//! A request's place in a trace: continued from the caller's `traceparent` and `tracestate`, or begun here, and told to the collector with the
//! scripts that it ran.

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use titan_api::trace::{TRACEPARENT, TRACESTATE, TraceContext, Traceparent, Tracestate};
use titan_lua::latency::Call;
use titan_telemetry::{Exporter, Kind, Moment, Span, Value, random_span_id};

/// One request of a trace.
#[derive(Debug)]
pub(crate) struct Trace {
    /// Of which trace what the request brings about is a part.
    place: Traceparent,
    /// What the caller's tracing systems say of it.
    state: Option<Tracestate>,
    recorded: Option<Recorded>,
}

/// What is needed to tell of it.
#[derive(Debug)]
struct Recorded {
    exporter: Exporter,
    parent: Option<u64>,
    began: Moment,
}

/// What there is to tell of a request.
#[derive(Debug)]
pub(crate) struct Outcome<'a> {
    pub(crate) method: &'a Method,
    pub(crate) route: &'a str,
    pub(crate) status: StatusCode,
    pub(crate) request_id: &'a str,
    pub(crate) job: Option<&'a str>,
    pub(crate) agent: Option<&'a str>,
    /// The stable type of its problem.
    pub(crate) problem: Option<&'a str>,
}

impl Trace {
    /// The request's place; none if the caller names none and none is begun here. What agents and probes send all day begins
    /// no trace.
    pub(crate) fn of(headers: &HeaderMap, exporter: Option<&Exporter>, is_chatter: bool) -> Option<Self> {
        let given = given(headers);
        let exporter = exporter.filter(|_| given.is_none_or(|given| given.sampled));
        let (place, parent) = match (given, exporter) {
            // Whoever records nothing passes the place on as it is, so that no link of the chain is missing.
            (Some(given), None) => return Some(Self { place: given, state: state(headers), recorded: None }),
            (Some(given), Some(_)) => (given.caused_by(random_span_id()), Some(given.span_id)),
            (None, Some(exporter)) if !is_chatter => (exporter.root()?, None),
            (None, _) => return None,
        };
        let recorded = exporter.map(|exporter| Recorded { exporter: exporter.clone(), parent, began: Moment::now() });
        // What is said of the caller's trace says nothing of one that begins here.
        Some(Self { place, state: given.and_then(|_| state(headers)), recorded })
    }

    /// What the request is for whatever it causes.
    pub(crate) fn context(&self) -> TraceContext {
        TraceContext { parent: self.place, state: self.state.clone() }
    }

    /// Whether somebody wants to know which scripts ran.
    pub(crate) fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }

    /// Tells of the request and of the scripts that it ran.
    pub(crate) fn end(self, outcome: &Outcome<'_>, calls: &[Call]) {
        let Some(Recorded { exporter, parent, began }) = self.recorded else { return };
        for call in calls {
            exporter.push(Span {
                place: self.place.caused_by(random_span_id()),
                state: self.state.clone(),
                parent: Some(self.place.span_id),
                name: call.script.to_owned(),
                kind: Kind::Client,
                began: began.wall_at(call.begun),
                took: call.took,
                attributes: vec![("db.system.name", "redis".into()), ("db.operation.name", call.script.into())],
                error: call.failed.then(|| "Redis gave no answer, or an error".to_owned()),
            });
        }
        exporter.push(Span {
            place: self.place,
            state: self.state,
            parent,
            name: format!("{} {}", outcome.method, outcome.route),
            kind: Kind::Server,
            began: began.wall(),
            took: began.elapsed(),
            attributes: attributes(outcome),
            error: outcome.status.is_server_error().then(|| outcome.problem.unwrap_or_default().to_owned()),
        });
    }
}

fn attributes(outcome: &Outcome<'_>) -> Vec<(&'static str, Value)> {
    let mut all = vec![
        ("http.request.method", outcome.method.as_str().into()),
        ("http.route", outcome.route.into()),
        ("http.response.status_code", i64::from(outcome.status.as_u16()).into()),
        ("request.id", outcome.request_id.into()),
    ];
    for (name, value) in [("job.id", outcome.job), ("agent.id", outcome.agent), ("error.type", outcome.problem)] {
        all.extend(value.map(|value| (name, value.into())));
    }
    all
}

/// The place that the caller names; of two none is meant.
fn given(headers: &HeaderMap) -> Option<Traceparent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next()?.to_str().ok()?.trim().parse().ok()?;
    values.next().is_none().then_some(value)
}

/// What the caller's tracing systems say of its trace; several headers are one list.
fn state(headers: &HeaderMap) -> Option<Tracestate> {
    let values: Result<Vec<_>, _> = headers.get_all(TRACESTATE).iter().map(HeaderValue::to_str).collect();
    values.ok()?.join(",").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_collector_a_good_place_is_passed_on_as_it_is_and_a_wrong_one_is_none() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let of = |values: &[&str]| {
            let headers = values.iter().map(|v| (TRACEPARENT.parse().unwrap(), v.parse().unwrap())).collect();
            Trace::of(&headers, None, false).map(|trace| trace.place.to_string())
        };
        assert_eq!(of(&[good]).as_deref(), Some(good));
        assert_eq!((of(&[]), of(&["00-1-2-01"]), of(&[good, good])), (None, None, None));
    }

    #[test]
    fn a_tracestate_goes_with_a_traceparent_and_never_alone() {
        let parent = (TRACEPARENT, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
        let of = |headers: &[(&str, &str)]| {
            let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            Trace::of(&headers, None, false)?.context().state.map(|state| state.as_str().to_owned())
        };
        let (one, two, wrong) = ((TRACESTATE, "a=1"), (TRACESTATE, "b=2 , c=3"), (TRACESTATE, "a=1=2"));
        assert_eq!(of(&[parent, one, two]).as_deref(), Some("a=1,b=2,c=3"));
        assert_eq!(
            (of(&[one]), of(&[parent]), of(&[parent, wrong]), of(&[parent, one, one])),
            (None, None, None, None)
        );
    }
}
