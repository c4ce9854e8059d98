//! `GET /.well-known/jwks.json`: all public keys, those that sign and those that did or will.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{auth::keys::Jwk, reply::Json, state::AppState};

/// A JWK set (RFC 7517).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JwkSet {
    /// The keys.
    keys: Vec<Jwk>,
}

/// The public keys, as a JWK set.
#[utoipa::path(get, path = "/.well-known/jwks.json", operation_id = "jwks", tag = "everyone", security(()), responses((status = 200, body = JwkSet)))]
pub(crate) async fn handler(State(state): State<AppState>) -> Json<JwkSet> {
    Json(JwkSet { keys: state.keys.jwks().to_vec() })
}
