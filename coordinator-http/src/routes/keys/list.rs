//! `GET /api/v1/keys`: the pool's API keys, without their secrets.

use axum::extract::State;
use titan_api::credentials::KeyList;
use titan_lua::credentials::api_keys;

use crate::{
    auth::callers::AdminCaller,
    cursor::List,
    error::ApiError,
    extract::ApiQuery,
    reply::Json,
    routes::page::{self, Page},
    state::AppState,
};

/// The pool's API keys, without their secrets.
#[utoipa::path(
    get,
    path = "/api/v1/keys",
    operation_id = "list_keys",
    tag = "administrators",
    params(Page),
    security(("admin" = [])),
    responses((status = 200, body = KeyList))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: AdminCaller,
    ApiQuery(page): ApiQuery<Page>,
) -> Result<Json<KeyList>, ApiError> {
    let (limit, after) = (page.limit()?, page.after(List::Keys)?);
    let mut keys = api_keys::list(&state.store, &caller.pool, after.as_ref(), page::to_read(limit)).await?;
    let next_cursor = page::cut(List::Keys, &mut keys, limit, |key| key.id.clone());
    Ok(Json(KeyList { keys, next_cursor }))
}
