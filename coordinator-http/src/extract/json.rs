//! JSON bodies: 415 for another type, 413 for too much, 400 for what is no JSON, 422 with pointers for the wrong shape.

use std::{error::Error, marker::PhantomData};

use axum::{
    RequestExt,
    body::HttpBody as _,
    extract::{FromRequest, Request},
};
use bytes::BytesMut;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_path_to_error::{Path, Segment};

use crate::{
    auth::callers::{Sender, Unweighed},
    error::ApiError,
    load,
    server::{BodyTimeout, Part},
    state::AppState,
};

/// A body that must be there.
#[derive(Debug)]
pub(crate) struct ApiJson<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<AppState> for ApiJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        check_type(request.headers())?;
        Box::pin(read(request, state)).await.and_then(|held| parse(&held.bytes)).map(Self)
    }
}

/// A body that passes on to the letter, and the part of it that is looked at here.
#[derive(Debug)]
pub(crate) struct RawJson<T> {
    pub(crate) text: String,
    pub(crate) value: T,
    /// Its part of the memory for bodies, to be kept until it has passed on.
    pub(crate) memory: Option<Part>,
}

impl<T: DeserializeOwned> FromRequest<AppState> for RawJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        check_type(request.headers())?;
        let Held { bytes, memory } = Box::pin(read(request, state)).await?;
        let value = parse(&bytes)?;
        let text = String::from_utf8(bytes.into());
        let text = text.map_err(|_| ApiError::BadRequest("the body is not UTF-8".to_owned()))?;
        Ok(Self { text, value, memory })
    }
}

/// A body that says nothing and may be left out; if it is there it must be a `T`.
#[derive(Debug)]
pub(crate) struct OptionalJson<T>(PhantomData<T>);

impl<T: DeserializeOwned> FromRequest<AppState> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let typed = check_type(request.headers());
        let held = read(request, state).await?;
        if held.bytes.is_empty() {
            return Ok(Self(PhantomData));
        }
        typed?;
        parse::<T>(&held.bytes).map(|_| Self(PhantomData))
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let essence = values.next().and_then(|v| v.to_str().ok()).map(|v| v.split(';').next().unwrap_or(v).trim());
    let is_json = essence.is_some_and(|e| e.eq_ignore_ascii_case("application/json"));
    if is_json && values.next().is_none() {
        return Ok(());
    }
    Err(ApiError::MediaType("send `Content-Type: application/json`, once".to_owned()))
}

/// A body, and its part of the memory for bodies, which it has until it is dropped.
struct Held {
    bytes: BytesMut,
    memory: Option<Part>,
}

async fn read(mut request: Request, state: &AppState) -> Result<Held, ApiError> {
    let unweighed = request.extensions_mut().remove::<Unweighed>();
    let sender = request.extensions_mut().remove::<Sender>().unwrap_or_default();
    let said = request.body().size_hint().lower();
    let mut body = request.into_limited_body();
    let most = body.size_hint().upper();
    // Whoever says that it sends more than the limit lets through need not begin.
    if most.is_some_and(|most| most < said) {
        return Err(ApiError::TooLarge { most });
    }
    let mut held = Held { bytes: BytesMut::new(), memory: None };
    while let Some(frame) = load::resting(body.frame()).await {
        let Ok(data) = frame.map_err(|error| broken(&error, most))?.into_data() else { continue };
        let memory = state.bodies.take(&sender.0, data.len())?;
        match &mut held.memory {
            Some(taken) => taken.merge(memory),
            none => *none = Some(memory),
        }
        held.bytes.extend_from_slice(&data);
    }
    if let Some(unweighed) = unweighed {
        unweighed.spend(state, held.bytes.len()).await?;
    }
    Ok(held)
}

fn broken(error: &axum::Error, most: Option<u64>) -> ApiError {
    if is_caused_by::<LengthLimitError>(error) {
        return ApiError::TooLarge { most };
    }
    if is_caused_by::<BodyTimeout>(error) {
        return ApiError::BodyTimeout;
    }
    ApiError::BadRequest("the body broke off".to_owned())
}

fn is_caused_by<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// To know the place of each value costs as much as reading it, so that is done where one is wrong.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // Serde takes an array for an object whose fields stand there in their order, and that would change with every new field.
    if bytes.trim_ascii_start().starts_with(b"[") {
        let json = serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| no_json(&error));
        return json.and_then(|_| Err(ApiError::field(String::new(), "expected an object")));
    }
    serde_json::from_slice(bytes).or_else(|_| parse_with_places(bytes))
}

fn parse_with_places<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer);
    value.map_err(|error| refuse(bytes, &error)).and_then(|value| match deserializer.end() {
        Ok(()) => Ok(value),
        Err(error) => Err(no_json(&error)),
    })
}

/// A wrong shape is told only of what is JSON to its end.
fn refuse(bytes: &[u8], error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(bytes) {
        return no_json(&error);
    }
    let text = error.inner().to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    ApiError::field(pointer(error.path()), what)
}

fn no_json(error: &serde_json::Error) -> ApiError {
    ApiError::BadRequest(format!("the body is no JSON: {error}"))
}

/// The place of a wrong value as a JSON pointer (RFC 6901).
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => {
                pointer.push('/');
                pointer.push_str(&index.to_string());
            }
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use titan_api::jobs::SubmitJob;

    use super::*;

    fn refusal(body: &str) -> ApiError {
        parse::<SubmitJob>(body.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_wrong_value_is_named_by_its_pointer() {
        for (body, pointer, detail) in [
            (r#"{"kind":"process","process":{"command":["a",1]}}"#, "/process/command/1", "expected a string"),
            (r#"{"kind":"process","process":{"command":[]},"state":"x"}"#, "/state", "unknown field"),
            (r#"{"process":{"command":[]}}"#, "", "missing field `kind`"),
            (
                r#"{"kind":"process","process":{"command":[],"env":{"a/b~":1}}}"#,
                "/process/env/a~1b~0",
                "expected a string",
            ),
        ] {
            let ApiError::Invalid(errors) = refusal(body) else { panic!("{body}") };
            assert_eq!(errors[0].pointer, pointer, "{body}");
            assert!(errors[0].detail.contains(detail), "{}", errors[0].detail);
            assert!(!errors[0].detail.contains("line"), "{}", errors[0].detail);
        }
    }

    #[test]
    fn what_is_no_json_is_a_bad_request() {
        for body in ["", "{", "nonsense", "\u{feff}{}", r#"{"kind":"process","process":{"command":[]}} x"#, "[[[[[["] {
            assert!(matches!(refusal(body), ApiError::BadRequest(_)), "{body}");
        }
    }
}
