//! JSON in replies.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde::Serialize;

use crate::error::ApiError;

/// Most replies are no longer, bytes.
const USUAL_BYTES: usize = 512;
/// Most replies have no more headers once all have been added around the handler.
const USUAL_HEADERS: usize = 9;

/// A reply's body. Axum's own writes each piece of it into a buffer of another kind, which takes about twice as long.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let mut body = Vec::with_capacity(USUAL_BYTES);
        match serde_json::to_writer(&mut body, &self.0) {
            Ok(()) => {
                let mut response = Response::new(body.into());
                response.headers_mut().reserve(USUAL_HEADERS);
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Err(error) => ApiError::Internal(format!("a reply is no JSON: {error}")).into_response(),
        }
    }
}
