//! `GET /api/v1/join-tokens`: the pool's join tokens, without their secrets.

use axum::extract::State;
use titan_api::credentials::JoinTokenList;
use titan_lua::credentials::join_tokens;

use crate::{
    auth::callers::AdminCaller,
    cursor::List,
    error::ApiError,
    extract::ApiQuery,
    reply::Json,
    routes::page::{self, Page},
    state::AppState,
};

/// The pool's join tokens, without their secrets.
#[utoipa::path(
    get,
    path = "/api/v1/join-tokens",
    operation_id = "list_join_tokens",
    tag = "administrators",
    params(Page),
    security(("admin" = [])),
    responses((status = 200, body = JoinTokenList))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: AdminCaller,
    ApiQuery(page): ApiQuery<Page>,
) -> Result<Json<JoinTokenList>, ApiError> {
    let (limit, after) = (page.limit()?, page.after(List::JoinTokens)?);
    let tokens = join_tokens::list(&state.store, &caller.pool, after.as_ref(), page::to_read(limit));
    let mut join_tokens = tokens.await?;
    let next_cursor = page::cut(List::JoinTokens, &mut join_tokens, limit, |token| token.id.clone());
    Ok(Json(JoinTokenList { join_tokens, next_cursor }))
}
