//! `GET /api/v1/health`: the process answers. It never asks Redis, so that an outage of Redis restarts nothing.

use titan_api::health::Health;

use crate::reply::Json;

/// Whether the process answers.
#[utoipa::path(get, path = "/api/v1/health", operation_id = "health", tag = "everyone", security(()), responses((status = 200, body = Health)))]
pub(crate) async fn handler() -> Json<Health> {
    Json(Health {
        status: "healthy".to_owned(),
        service: "titancompute-coordinator".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}
