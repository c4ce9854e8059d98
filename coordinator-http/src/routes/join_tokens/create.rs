//! `POST /api/v1/join-tokens`: makes a join token and shows it, this once.

use axum::extract::State;
use http::StatusCode;
use titan_api::{
    credentials::{CreateJoinToken, CreatedJoinToken, JoinToken},
    time::Timestamp,
};
use titan_lua::credentials::join_tokens::{self, StoredJoinToken};

use crate::{
    auth::{
        callers::AdminCaller,
        secrets::{self, JOIN_TOKEN},
    },
    error::ApiError,
    extract::ApiJson,
    idempotency::NoKey,
    reply::Json,
    state::AppState,
    validate::Validate,
};

/// Makes a join token, and shows it this once.
///
/// A call with an `Idempotency-Key` is refused: a repeat could not give the same answer.
#[utoipa::path(
    post,
    path = "/api/v1/join-tokens",
    operation_id = "create_join_token",
    tag = "administrators",
    request_body = CreateJoinToken,
    security(("admin" = [])),
    responses((status = 201, body = CreatedJoinToken))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: AdminCaller,
    _: NoKey,
    ApiJson(request): ApiJson<CreateJoinToken>,
) -> Result<(StatusCode, Json<CreatedJoinToken>), ApiError> {
    request.validate()?;
    let fresh = secrets::fresh(JOIN_TOKEN)?;
    let now_ms = state.clock.now_ms();
    let record = JoinToken {
        id: fresh.id,
        pool: caller.pool,
        uses: request.uses,
        used_by: Vec::new(),
        created_at: Timestamp::from_ms(now_ms),
        expires_at: Timestamp::from_ms(now_ms.saturating_add_unsigned(request.expires_in_ms)),
    };
    let stored = StoredJoinToken { record: record.clone(), secret_sha256: fresh.secret_sha256 };
    join_tokens::create(&state.store, &stored).await.map_err(|e| {
        let id = &record.id;
        ApiError::unsure(e, || format!("the token may have been made, as {id}: delete it if it is listed, then repeat"))
    })?;
    Ok((StatusCode::CREATED, Json(CreatedJoinToken { token: fresh.text, record })))
}
