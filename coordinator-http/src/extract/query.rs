//! Parameters of the query. Unknown ones are refused before, by [`crate::gate::strict`].

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::{error::ApiError, state::AppState};

/// The parameters of the query.
#[derive(Debug)]
pub(crate) struct ApiQuery<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<AppState> for ApiQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(value)| Self(value)).map_err(|e| {
            let text = e.body_text();
            let what = text.rsplit_once("query string: ").map_or(text.as_str(), |(_, what)| what);
            ApiError::BadRequest(format!("the query is wrong: {what}"))
        })
    }
}
