//! `GET /openapi.json`: this interface, in full.

use axum::{Extension, response::IntoResponse};
use bytes::Bytes;
use http::header;

/// The document, written once.
#[derive(Debug, Clone)]
pub(crate) struct Document(pub(crate) Bytes);

/// This interface, in full.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = "everyone",
    security(()),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json"))
)]
pub(crate) async fn handler(Extension(document): Extension<Document>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document.0)
}
