//! `GET /metrics`: figures for Prometheus, of this copy and of the caller's pool.

use axum::{extract::State, response::IntoResponse};
use http::header;

use crate::{
    auth::callers::{KeyCaller, MetricsRead},
    metrics::{self, Pools},
    state::AppState,
};

/// Figures for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "clients",
    security(("api_key" = ["metrics:read"]), ("admin" = [])),
    responses((status = 200, description = "Prometheus' text format", body = String, content_type = "text/plain"))
)]
pub(crate) async fn handler(State(state): State<AppState>, caller: KeyCaller<MetricsRead>) -> impl IntoResponse {
    written(&state, Pools::One(caller.pool.name())).await
}

/// The same on a listener of its own (`METRICS_LISTEN`), for nobody in particular and of all pools.
pub(crate) async fn of_all_pools(State(state): State<AppState>) -> impl IntoResponse {
    written(&state, Pools::All).await
}

async fn written(state: &AppState, pools: Pools<'_>) -> impl IntoResponse + use<> {
    let page = metrics::page(state, pools).await;
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page.into_text())
}
