//! The table of routes, and what lies around all of them.

mod agents;
mod jobs;
mod join_tokens;
mod keys;
mod meta;
mod page;
mod pool;

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit, middleware};
use http::{HeaderName, Method, header};
use titan_api::limits;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, Any, CorsLayer},
};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt},
    routes,
};

use crate::{
    observe, openapi,
    state::AppState,
    strict::{self, KnownParameters},
};

/// All routes, and the document that describes them.
pub(crate) fn table() -> (Router<AppState>, utoipa::openapi::OpenApi) {
    let long = |route| limited(route, limits::LONG_BODY_BYTES);
    let report = |route| limited(route, limits::REPORT_BODY_BYTES);
    let (router, document) = OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(meta::health::handler))
        .routes(routes!(meta::ready::handler))
        .routes(routes!(meta::jwks::handler))
        .routes(routes!(meta::public_key::handler))
        .routes(routes!(pool::status::handler))
        .routes(routes!(pool::scheduler::get, pool::scheduler::set))
        .routes(routes!(pool::sweep::handler))
        .routes(routes!(keys::create::handler, keys::list::handler))
        .routes(routes!(keys::delete::handler))
        .routes(routes!(join_tokens::create::handler, join_tokens::list::handler))
        .routes(routes!(join_tokens::delete::handler))
        .routes(long(routes!(jobs::submit::handler, jobs::list::handler)))
        .routes(routes!(jobs::get::handler))
        .routes(routes!(jobs::output::handler))
        .routes(routes!(jobs::cancel::handler))
        .routes(routes!(agents::list::handler))
        .routes(routes!(agents::get::handler, agents::remove::handler))
        .routes(routes!(agents::drain::handler))
        .routes(routes!(agents::resume::handler))
        .routes(routes!(agents::join::handler))
        .routes(long(routes!(agents::register::handler)))
        .routes(report(routes!(agents::heartbeat::handler)))
        .routes(routes!(agents::claim::handler))
        .routes(report(routes!(agents::report::handler)))
        .routes(routes!(meta::openapi::handler))
        .split_for_parts();
    (router, openapi::with_problems(document))
}

fn limited(route: UtoipaMethodRouter<AppState>, bytes: usize) -> UtoipaMethodRouter<AppState> {
    route.layer(DefaultBodyLimit::max(bytes))
}

/// The whole HTTP interface.
///
/// Layers, from the outside: CORS, then the request's id, log line and problem, then panics, then what is refused
/// before any handler.
pub fn router(state: AppState) -> Router {
    let (router, document) = table();
    let known = KnownParameters::of(&document);
    let json: Arc<str> = document.to_json().unwrap_or_default().into();
    router
        .fallback(observe::not_found)
        .method_not_allowed_fallback(observe::method_not_allowed)
        .layer(axum::Extension(meta::openapi::Document(json)))
        .layer(middleware::from_fn_with_state(known, strict::layer))
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(middleware::from_fn(observe::layer))
        .layer(cors(&state))
        .layer(DefaultBodyLimit::max(limits::BODY_BYTES))
        .with_state(state)
}

fn cors(state: &AppState) -> CorsLayer {
    let origins = &state.cors_allowed_origins;
    let allowed = if origins.iter().any(|o| o == "*") { Any.into() } else { AllowOrigin::list(origins.clone()) };
    let headers = ["authorization", "content-type", "last-event-id", "x-request-id", "x-titan-pool"];
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::PUT, Method::POST, Method::DELETE])
        .allow_headers(headers.map(HeaderName::from_static))
        .expose_headers([header::LOCATION, header::RETRY_AFTER, observe::REQUEST_ID])
}

/// The body of a call that says all by its path: nothing, or an empty object.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}
