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
            ApiError::BadRequest(format!("the query is wrong: {}", in_words(what)))
        })
    }
}

/// What the standard library says of numbers, as it is meant.
fn in_words(what: &str) -> String {
    const WORDS: [(&str, &str); 4] = [
        ("cannot parse integer from empty string", "write a whole number"),
        ("invalid digit found in string", "write a whole number, in digits alone"),
        ("number too large to fit in target type", "the number is too large"),
        ("number too small to fit in target type", "the number is too small"),
    ];
    let told = WORDS.iter().find_map(|(theirs, ours)| Some(what.strip_suffix(theirs)?.to_owned() + ours));
    told.unwrap_or_else(|| what.to_owned())
}
