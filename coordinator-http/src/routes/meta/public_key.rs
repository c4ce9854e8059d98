//! `GET /api/v1/public-key`: the public keys of the first signing key of each kind, as PEM.

use axum::{extract::State, response::IntoResponse};
use http::header;

use crate::state::AppState;

/// The public keys, as PEM.
#[utoipa::path(
    get,
    path = "/api/v1/public-key",
    operation_id = "public_key",
    tag = "everyone",
    security(()),
    responses((status = 200, description = "PEM: the Ed25519 key, then the RSA key", body = String, content_type = "application/x-pem-file"))
)]
pub(crate) async fn handler(State(state): State<AppState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/x-pem-file")], state.keys.signing_pem().to_owned())
}
