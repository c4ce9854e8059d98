//! The bearer of a request: one `Authorization` header, and nothing in the URL.

use http::{HeaderMap, header};

use crate::error::ApiError;

/// Longest bearer, bytes.
const MAX_BEARER_BYTES: usize = 4 * 1_024;

/// The text after `Bearer`.
pub(crate) fn of(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(|| unauthorized("send a credential as `Authorization: Bearer …`"))?;
    if values.next().is_some() {
        return Err(ApiError::BadRequest("there is more than one Authorization header".to_owned()));
    }
    let text = value.to_str().map_err(|_| unauthorized("the Authorization header is not ASCII"))?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    let token = token.trim_start_matches(' ');
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(unauthorized("only `Authorization: Bearer …` is understood"));
    }
    // All of it is looked at, since without a way out the compiler takes many bytes at once.
    let is_graphic = token.bytes().fold(true, |all, byte| all & byte.is_ascii_graphic());
    if token.len() > MAX_BEARER_BYTES || !is_graphic {
        return Err(unauthorized("the credential is malformed"));
    }
    Ok(token)
}

pub(crate) fn unauthorized(detail: &str) -> ApiError {
    ApiError::Unauthorized(detail.to_owned())
}
