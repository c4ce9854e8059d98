//! `POST /api/v1/keys`: makes an API key and shows it, this once.

use axum::extract::State;
use http::StatusCode;
use titan_api::{
    credentials::{ApiKey, CreateKey, CreatedKey},
    time::Timestamp,
};
use titan_lua::credentials::api_keys::{self, StoredKey};

use crate::{
    auth::{
        callers::AdminCaller,
        secrets::{self, API_KEY},
    },
    error::ApiError,
    extract::ApiJson,
    idempotency::NoKey,
    reply::Json,
    state::AppState,
    validate::Validate,
};

/// Makes an API key, and shows it this once.
///
/// A call with an `Idempotency-Key` is refused: a repeat could not give the same answer.
#[utoipa::path(
    post,
    path = "/api/v1/keys",
    operation_id = "create_key",
    tag = "administrators",
    request_body = CreateKey,
    security(("admin" = [])),
    responses((status = 201, body = CreatedKey))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: AdminCaller,
    _: NoKey,
    ApiJson(request): ApiJson<CreateKey>,
) -> Result<(StatusCode, Json<CreatedKey>), ApiError> {
    request.validate()?;
    let fresh = secrets::fresh(API_KEY)?;
    let now_ms = state.clock.now_ms();
    let record = ApiKey {
        id: fresh.id,
        name: request.name,
        pool: caller.pool,
        scopes: request.scopes,
        created_at: Timestamp::from_ms(now_ms),
        expires_at: request.expires_in_ms.map(|life_ms| Timestamp::from_ms(now_ms.saturating_add_unsigned(life_ms))),
        limits: request.limits,
    };
    let stored = StoredKey { record: record.clone(), secret_sha256: fresh.secret_sha256 };
    api_keys::create(&state.store, &stored).await.map_err(|e| {
        let id = &record.id;
        ApiError::unsure(e, || format!("the key may have been made, as {id}: delete it if it is listed, then repeat"))
    })?;
    Ok((StatusCode::CREATED, Json(CreatedKey { key: fresh.text, record })))
}
