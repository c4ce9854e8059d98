//! Around every request: its id, its line in the log, and the body of its problem, if it has one.

use std::{
    convert::Infallible,
    fmt::{self, Write as _},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{MatchedPath, Request},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, header::InvalidHeaderValue};
use titan_api::{
    problem::{CONTENT_TYPE, Problem},
    trace::Traceparent,
};
use titan_lua::latency::{Call, Spent, measured, traced};
use tower::{Layer, Service};
use tracing::Instrument;

use crate::{
    error::{ApiError, Failure},
    ids, metrics,
    notes::{self, Notes},
    openai, quotas,
    state::AppState,
    trace::{Outcome, Trace},
};

/// The header with a request's id, in requests and in replies.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken from a request, and longest part of a path that is logged.
const MAX_ID_BYTES: usize = 128;

/// The header with what a request's time was spent on.
pub(crate) const TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The layer; the outermost but CORS.
#[derive(Debug, Clone)]
pub(crate) struct Observe(pub(crate) AppState);

/// What lies behind it.
#[derive(Debug, Clone)]
pub(crate) struct Observed<S> {
    state: AppState,
    inner: S,
}

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { state: self.0.clone(), inner }
    }
}

impl<S> Service<Request> for Observed<S>
where
    S: Service<Request, Error = Infallible>,
    S::Response: IntoResponse + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    /// What does not wait is done at once, so that the future is small: thousands of requests wait for their answers.
    fn call(&mut self, request: Request) -> Self::Future {
        let seen = Seen::of(&self.state, &request);
        let span = tracing::info_span!("request", request.id = %seen.id);
        let before = Notes { trace: seen.trace.as_ref().map(Trace::context), ..Notes::default() };
        let served = measured(notes::taken(before, self.inner.call(request).instrument(span)));
        Box::pin(async move {
            let (((Ok(response), notes), spent), calls) = match &seen.trace {
                Some(trace) if trace.is_recorded() => Box::pin(traced(served)).await,
                _ => (served.await, Vec::new()),
            };
            Ok(seen.answer(response.into_response(), notes, spent, &calls))
        })
    }
}

/// A request while it is answered.
struct Seen {
    state: AppState,
    began: Instant,
    _in_flight: metrics::InFlight,
    id: String,
    line: Line,
    trace: Option<Trace>,
}

impl Seen {
    fn of(state: &AppState, request: &Request) -> Self {
        let line = Line::of(request);
        Self {
            began: Instant::now(),
            _in_flight: state.metrics.requests.begin(),
            id: request_id(request.headers()),
            trace: Trace::of(request.headers(), state.exporter.as_ref(), line.is_chatter()),
            line,
            state: state.clone(),
        }
    }

    /// Tells of the answer, and finishes it.
    fn answer(self, response: Response, notes: Notes, spent: Spent, calls: &[Call]) -> Response {
        let Self { state, began, id, line, trace, .. } = self;
        let id = notes.request_id.clone().unwrap_or(id);
        let (mut response, failure) = finish(response, &id, line.speaks_openai);
        let line = line.of_answer(response.status());
        let took = began.elapsed();
        state.metrics.requests.add(metrics::Request {
            method: &line.method,
            route: line.route(),
            status: response.status(),
            took: took.saturating_sub(notes.waited),
        });
        line.log(&id, notes.trace.as_ref().map(|trace| trace.parent), &response, took, failure.as_ref());
        if let Some(trace) = trace {
            trace.end(&line.outcome(&id, response.status(), failure.as_ref()), calls);
        }
        let headers = response.headers_mut();
        if !line.is_chatter()
            && let Ok(value) = timing(took, &notes, spent)
        {
            headers.insert(TIMING, value);
        }
        headers.extend(notes.headers.iter().cloned());
        if let Some(standing) = notes.standing
            && !headers.contains_key(quotas::LEFT)
        {
            standing.write_to(headers);
        }
        if let Ok(value) = HeaderValue::from_str(&id) {
            headers.insert(REQUEST_ID, value);
        }
        // What jobs write and agents say is data, whatever it looks like.
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // Replies hold what is true only now, and some hold secrets.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        response
    }
}

/// What the time until here was spent on, in milliseconds.
fn timing(took: Duration, notes: &Notes, spent: Spent) -> Result<HeaderValue, InvalidHeaderValue> {
    let (total, store, commands) = (Ms(took), Ms(spent.time), spent.commands);
    let mut text = format!(r#"total;dur={total}, store;dur={store};desc="{commands} commands""#);
    let wait = Some(("wait", notes.waited)).filter(|(_, waited)| !waited.is_zero());
    for (name, time) in wait.into_iter().chain(notes.timings.iter().copied()) {
        let _ = write!(text, ", {name};dur={}", Ms(time));
    }
    HeaderValue::try_from(text)
}

/// Milliseconds, rounded to a tenth of one.
struct Ms(Duration);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX).saturating_add(50) / 100;
        write!(f, "{}.{}", tenths / 10, tenths % 10)
    }
}

/// What a panic is answered with.
#[expect(clippy::needless_pass_by_value, reason = "the layer gives the panic away")]
pub(crate) fn panicked(panic: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref().cloned());
    ApiError::Internal(format!("panic: {}", text.unwrap_or_default())).into_response()
}

/// The id that the caller chose, if it is a fit one, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let fit = |id: &&str| {
        (1..=MAX_ID_BYTES).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    let chosen = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(fit);
    chosen.map_or_else(ids::request_id, str::to_owned)
}

/// Writes the body of a problem.
fn finish(mut response: Response, request_id: &str, openai: bool) -> (Response, Option<Failure>) {
    let Some(failure) = response.extensions_mut().remove::<Failure>() else { return (response, None) };
    let problem = Problem { request_id: Some(request_id.to_owned()), ..failure.problem.clone() };
    let (body, content_type) = if openai {
        *response.status_mut() = openai::status(&problem);
        (serde_json::to_vec(&openai::body(&problem)), "application/json")
    } else {
        (serde_json::to_vec(&problem), CONTENT_TYPE)
    };
    let Ok(body) = body else { return (response, Some(failure)) };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(body);
    (response, Some(failure))
}

/// One request in the log. It never holds headers, the query or a body, so it can hold no secret.
struct Line {
    method: Method,
    template: Option<MatchedPath>,
    agent: Option<String>,
    job: Option<String>,
    /// Whether failures have OpenAI's shape here.
    speaks_openai: bool,
}

impl Line {
    fn of(request: &Request) -> Self {
        let template = request.extensions().get::<MatchedPath>().cloned();
        let (noun, id) = template.as_ref().and_then(|known| named(known.as_str(), request.uri().path())).unzip();
        let id_of = |wanted| id.filter(|_| noun == Some(wanted)).map(str::to_owned);
        Self {
            method: request.method().clone(),
            agent: id_of("agents"),
            job: id_of("jobs"),
            speaks_openai: openai::speaks(request.uri().path()),
            template,
        }
    }

    /// What is left of it once it is answered: what whoever was not let in calls an id may be anything, a secret too.
    fn of_answer(self, status: StatusCode) -> Self {
        if status == StatusCode::UNAUTHORIZED { Self { agent: None, job: None, ..self } } else { self }
    }

    fn route(&self) -> &str {
        self.template.as_ref().map_or("(none)", MatchedPath::as_str)
    }

    fn outcome<'a>(&'a self, request_id: &'a str, status: StatusCode, failure: Option<&'a Failure>) -> Outcome<'a> {
        Outcome {
            method: &self.method,
            route: self.route(),
            status,
            request_id,
            job: self.job.as_deref(),
            agent: self.agent.as_deref(),
            problem: failure.map(|f| f.problem.kind.as_str()),
        }
    }

    fn log(
        &self,
        request_id: &str,
        traceparent: Option<Traceparent>,
        response: &Response,
        took: Duration,
        failure: Option<&Failure>,
    ) {
        let status = response.status();
        let trace_id = traceparent.map(|place| format!("{:032x}", place.trace_id));
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    component = "http",
                    request.id = request_id,
                    trace.id = trace_id,
                    method = %self.method,
                    route = self.route(),
                    status = status.as_u16(),
                    latency_ms = took.as_secs_f64() * 1_000.0,
                    agent.id = self.agent,
                    job.id = self.job,
                    problem = failure.map(|f| f.problem.kind.as_str()),
                    cause = failure.and_then(|f| f.cause.as_deref()),
                    "request"
                )
            };
        }
        match status {
            status if status.is_server_error() => line!(error),
            status if status.is_client_error() || self.is_chatter() => line!(debug),
            _ => line!(info),
        }
    }

    /// What agents and probes send all day.
    fn is_chatter(&self) -> bool {
        let route = self.route();
        let probe = matches!(route, "/api/v1/health" | "/api/v1/ready" | "/metrics");
        let talk = ["/heartbeat", "/claim", "/report", "/stream", "/use"].iter().any(|verb| route.ends_with(verb));
        probe || talk
    }
}

/// The id that stands in `path` where the template has `{id}`, and the noun before it. Up to there both are the same.
fn named<'t, 'p>(template: &'t str, path: &'p str) -> Option<(&'t str, &'p str)> {
    let before = &template[..template.find("/{id}")?];
    let id = path.get(before.len() + 1..)?.split('/').next()?;
    (id.len() <= MAX_ID_BYTES).then_some((before.rsplit('/').next()?, id))
}

/// What an unknown path is answered with.
pub(crate) async fn not_found() -> ApiError {
    ApiError::NotFound("there is no such route; /openapi.json lists them".to_owned())
}

/// What a known path with another method is answered with.
pub(crate) async fn method_not_allowed() -> (StatusCode, ApiError) {
    (StatusCode::METHOD_NOT_ALLOWED, ApiError::MethodNotAllowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_in_the_path_is_found_by_the_route() {
        assert_eq!(named("/api/v1/jobs/{id}/cancel", "/api/v1/jobs/j-1/cancel"), Some(("jobs", "j-1")));
        assert_eq!(named("/api/v1/agents/{id}", "/api/v1/agents/a"), Some(("agents", "a")));
        assert_eq!(named("/api/v1/agents/join", "/api/v1/agents/join"), None);
        assert_eq!(named("/api/v1/jobs/{id}", &format!("/api/v1/jobs/{}", "j".repeat(129))), None);
    }

    #[test]
    fn times_are_told_in_tenths_of_a_millisecond() {
        let of = |us| Ms(Duration::from_micros(us)).to_string();
        assert_eq!(
            [of(0), of(49), of(50), of(949), of(950), of(12_345_678)],
            ["0.0", "0.0", "0.1", "0.9", "1.0", "12345.7"]
        );
    }

    #[test]
    fn only_a_fit_request_id_is_taken() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("trace.1-a"));
        assert_eq!(request_id(&headers), "trace.1-a");
        headers.insert(REQUEST_ID, HeaderValue::from_static("a b"));
        assert_ne!(request_id(&headers), "a b");
    }
}
