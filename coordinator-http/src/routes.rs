//! The table of routes, and what lies around all of them.

mod agents;
mod events;
mod inference;
mod jobs;
mod join_tokens;
mod keys;
mod meta;
mod models;
mod output;
mod page;
mod pool;
mod tickets;
mod usage;

pub(crate) use self::{agents::get_agent, events::read::page as events_page, jobs::no_such_job};

use std::time::Duration;

use axum::{Extension, Router, extract::DefaultBodyLimit, middleware, routing::get};
use http::{HeaderName, Method, header};
use titan_api::{
    headers, limits,
    time::{Since, Timestamp},
};
use tower::util::option_layer;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, Any, CorsLayer},
};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt},
    routes,
};

use crate::{
    compress,
    error::ApiError,
    gate::{Through, strict::KnownParameters},
    load::Admission,
    observe::{self, Observe},
    openapi, quotas, relay,
    state::AppState,
};

/// Bytes of the body of a join, which is a key and a name: whoever sends it is not known yet.
const JOIN_BODY_BYTES: usize = 4 * 1_024;
/// Bytes of the body of a registration, whose credential is in it: 64 GPUs, 256 models and 256 attempts fit.
const REGISTER_BODY_BYTES: usize = 128 * 1_024;

/// All routes, and the document that describes them.
pub(crate) fn table() -> (Router<AppState>, utoipa::openapi::OpenApi) {
    let long = |route| limited(route, limits::LONG_BODY_BYTES);
    let report = |route| limited(route, limits::REPORT_BODY_BYTES);
    let prompt = |route| limited(route, limits::PROMPT_BYTES);
    let (router, document) = OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(meta::health::handler))
        .routes(routes!(meta::ready::handler))
        .routes(routes!(meta::jwks::handler))
        .routes(routes!(meta::public_key::handler))
        .routes(compressed(routes!(pool::status::handler)))
        .routes(routes!(pool::scheduler::get, pool::scheduler::set))
        .routes(routes!(pool::sweep::handler))
        .routes(routes!(keys::create::handler, keys::list::handler))
        .routes(routes!(keys::delete::handler))
        .routes(routes!(join_tokens::create::handler, join_tokens::list::handler))
        .routes(routes!(join_tokens::delete::handler))
        .routes(long(routes!(jobs::submit::handler)))
        .routes(compressed(routes!(jobs::list::handler)))
        .routes(routes!(jobs::get::handler))
        .routes(compressed(routes!(output::read::handler)))
        .routes(routes!(jobs::cancel::handler))
        .routes(routes!(jobs::retry::handler))
        .routes(limited(routes!(jobs::batch::handler), limits::BATCH_BODY_BYTES))
        .routes(compressed(routes!(events::publish::handler, events::read::handler)))
        .routes(compressed(routes!(agents::list::handler)))
        .routes(compressed(routes!(agents::get::handler, agents::remove::handler)))
        .routes(routes!(agents::drain::handler))
        .routes(routes!(agents::resume::handler))
        .routes(limited(routes!(agents::join::handler), JOIN_BODY_BYTES))
        .routes(limited(routes!(agents::register::handler), REGISTER_BODY_BYTES))
        .routes(report(routes!(agents::heartbeat::handler)))
        .routes(long(routes!(agents::claim::handler)))
        .routes(report(routes!(agents::report::handler)))
        .routes(routes!(tickets::r#use::handler))
        .routes(routes!(output::append::handler))
        .routes(prompt(routes!(inference::chat_completions::handler)))
        .routes(prompt(routes!(inference::completions::handler)))
        .routes(prompt(routes!(inference::embeddings::handler)))
        .routes(prompt(routes!(inference::responses::handler)))
        .routes(routes!(inference::list_models::handler))
        .routes(routes!(inference::get_model::handler))
        .routes(routes!(models::list::handler))
        .routes(routes!(models::aliases::get, models::aliases::set))
        .routes(routes!(models::pull::handler))
        .routes(limited(routes!(tickets::issue::handler), limits::LONG_BODY_BYTES))
        .routes(routes!(usage::read::handler))
        .routes(compressed(routes!(meta::openapi::handler)))
        .routes(compressed(routes!(meta::metrics::handler)))
        .routes(compressed(routes!(meta::docs::page)))
        .routes(compressed(routes!(meta::docs::file)))
        .split_for_parts();
    (router, openapi::completed(document))
}

fn limited(route: UtoipaMethodRouter<AppState>, bytes: usize) -> UtoipaMethodRouter<AppState> {
    route.layer(DefaultBodyLimit::max(bytes))
}

/// For replies that may be long and hold no secret; see [`compress`].
fn compressed(route: UtoipaMethodRouter<AppState>) -> UtoipaMethodRouter<AppState> {
    route.layer(compress::layer()).layer(middleware::map_request(compress::only_gzip))
}

/// The whole HTTP interface.
pub fn router(state: AppState) -> Router {
    let (router, document) = table();
    layered(router, &document, &state).with_state(state)
}

/// What `METRICS_LISTEN` serves: the figures of this copy and of all pools, to whoever asks.
pub fn metrics_router(state: AppState) -> Router {
    let router = Router::new().route("/metrics", get(meta::metrics::of_all_pools));
    layered(router, &openapi::document(), &state).with_state(state)
}

/// What lies around all routes, from the outside: CORS, then the request's id, log line and problem, then panics, then
/// what is too much, then what is refused before any handler. They are one layer for the router, which needs memory for each
/// layer, as long as a request waits.
fn layered(router: Router<AppState>, document: &utoipa::openapi::OpenApi, state: &AppState) -> Router<AppState> {
    let around = (
        DefaultBodyLimit::max(limits::BODY_BYTES),
        option_layer(cors(state)),
        Observe(state.clone()),
        CatchPanicLayer::custom(observe::panicked),
        Through(Admission(state.clone())),
        Through(KnownParameters::of(document)),
        Extension(meta::openapi::Document(document.to_json().unwrap_or_default().into())),
    );
    let router = router.fallback(observe::not_found).method_not_allowed_fallback(observe::method_not_allowed);
    router.layer(around)
}

/// None where no origin is allowed: then nothing is said of them either.
fn cors(state: &AppState) -> Option<CorsLayer> {
    let origins = &state.cors_allowed_origins;
    if origins.is_empty() {
        return None;
    }
    let allowed = if origins.iter().any(|o| o == "*") { Any.into() } else { AllowOrigin::list(origins.clone()) };
    let allowed_headers = [
        "authorization",
        "content-type",
        "idempotency-key",
        "last-event-id",
        "traceparent",
        "tracestate",
        "x-request-id",
        headers::POOL,
        headers::DEADLINE_MS,
        headers::FIRST_TOKEN_MS,
        headers::TOKEN_MS,
        headers::ANSWER_MS,
        headers::SESSION,
        headers::FAILOVER,
    ];
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::PUT, Method::POST, Method::DELETE])
        .allow_headers(allowed_headers.map(HeaderName::from_static))
        .expose_headers([
            header::LOCATION,
            header::RETRY_AFTER,
            observe::REQUEST_ID,
            quotas::POLICY,
            quotas::LEFT,
            observe::TIMING,
            relay::AGENT,
            relay::ATTEMPT,
            relay::QUEUE_PLACE,
            relay::QUEUE_ESTIMATE,
        ]);
    Some(layer)
}

/// How long a read may wait: what was asked for, or less where a held request costs money.
pub(crate) fn read_wait(state: &AppState, asked_ms: u64) -> Result<Duration, ApiError> {
    if asked_ms > limits::READ_WAIT_MS {
        return Err(ApiError::BadRequest(format!("wait_ms must be from 0 to {}", limits::READ_WAIT_MS)));
    }
    Ok(Duration::from_millis(asked_ms.min(state.pace.longest_read_wait_ms())))
}

/// From when on something is wanted, which is said in one of two ways.
pub(crate) fn read_since(time: Option<Timestamp>, ms: Option<u64>) -> Result<Option<Since>, ApiError> {
    match (time, ms) {
        (Some(_), Some(_)) => Err(ApiError::BadRequest("say since or since_ms, not both".to_owned())),
        (time, ms) => Ok(time.map(Since::At).or(ms.map(Since::LastMs))),
    }
}

/// The body of a call that says all by its path: nothing, or an empty object.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use clap::Parser;
    use http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::{command::generate_signing_keys, config::RunArgs};

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        run: RunArgs,
    }

    #[tokio::test]
    async fn a_handler_that_panics_is_answered_as_an_internal_problem_that_tells_nothing_of_it() {
        let keys = generate_signing_keys().unwrap();
        let secret =
            |name: &str| Some(if name == "ADMIN_TOKEN" { "0123456789abcdef" } else { keys.as_str() }.to_owned());
        let state = AppState::new(Flags::parse_from(["test"]).run.check(secret).unwrap()).unwrap();
        let broken = Router::new().route("/broken", get(async || -> &'static str { panic!("the inside of it") }));
        let router = layered(broken, &openapi::document(), &state).with_state(state);
        let reply = router.oneshot(Request::get("/broken").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(reply.status(), 500);
        assert_eq!(reply.headers()[header::CONTENT_TYPE], "application/problem+json");
        let body = axum::body::to_bytes(reply.into_body(), 10_000).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains("/problems/internal") && !text.contains("the inside"), "{text}");
    }
}
