//! Calls to a backend. Nothing that it says is believed beyond a bound, and nobody it points to is called.

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};
use reqwest::{
    RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
    redirect,
};
use serde::de::DeserializeOwned;
use titan_api::loopback;

use crate::config::BackendArg;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection is kept that nothing is asked over. Backends close theirs without a word, llama.cpp after 5 s, and
/// what is sent in that moment is lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a backend may take to say what it serves.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a list.
const LIST_BYTES: usize = 4 * 1_024 * 1_024;
/// Bytes of a key.
const KEY_BYTES: usize = 8 * 1_024;

/// The way to one backend.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    base: String,
}

/// A question that got no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// Nobody listens there.
    #[error("nobody answers: {0}")]
    Away(String),
    /// Somebody does, but the connection broke.
    #[error("it broke off: {0}")]
    Broke(String),
    /// Somebody does, but takes too long.
    #[error("no answer within {LIST_TIMEOUT:?}")]
    Slow,
    /// Something else was answered.
    #[error("{0}")]
    Wrong(String),
}

impl Http {
    /// The way to the backend that `arg` names.
    ///
    /// # Errors
    /// Its key cannot be read.
    pub(crate) fn new(arg: &BackendArg) -> anyhow::Result<Self> {
        let mut client = reqwest::Client::builder()
            .user_agent(concat!("titan-agent/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            // A backend decides about its own answers, not about whom else prompts are sent to.
            .redirect(redirect::Policy::none())
            .referer(false);
        if loopback::is_url(&arg.url) {
            client = client.no_proxy();
        }
        if let Some(path) = &arg.api_key_file {
            client = client.default_headers(HeaderMap::from_iter([(AUTHORIZATION, key(path)?)]));
        }
        let client = client.build().context("the HTTP client could not be made")?;
        Ok(Self { client, base: arg.url.clone() })
    }

    /// A request to be sent; the caller bounds the time.
    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.base))
    }

    /// Whether `GET path` is answered as by one who is well.
    ///
    /// # Errors
    /// It is not, in time.
    pub(crate) async fn is_well(&self, path: &str) -> Result<(), NoAnswer> {
        let call = async {
            let response = self.client.get(format!("{}{path}", self.base)).send().await.map_err(|e| away(&e))?;
            let status = response.status();
            if status.is_success() { Ok(()) } else { Err(unwell(path, status)) }
        };
        tokio::time::timeout(LIST_TIMEOUT, call).await.unwrap_or(Err(NoAnswer::Slow))
    }

    /// `GET path`, whose answer is JSON.
    ///
    /// # Errors
    /// There was none, in time and within bounds.
    pub(crate) async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<T, NoAnswer> {
        let call = async {
            let response = self.client.get(format!("{}{path}", self.base)).send().await.map_err(|e| away(&e))?;
            let status = response.status();
            if !status.is_success() {
                return Err(unwell(path, status));
            }
            let body = body(response, LIST_BYTES).await?;
            // Not in the parser's words, which quote what the backend has said.
            serde_json::from_slice(&body).map_err(|e| {
                let (line, column) = (e.line(), e.column());
                NoAnswer::Wrong(format!("the answer of {path} is not as it should be at line {line}, column {column}"))
            })
        };
        tokio::time::timeout(LIST_TIMEOUT, call).await.unwrap_or(Err(NoAnswer::Slow))
    }
}

/// The whole body, unless it is longer than `most`.
async fn body(mut response: Response, most: usize) -> Result<Vec<u8>, NoAnswer> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|e| away(&e))? {
        if body.len() + part.len() > most {
            return Err(NoAnswer::Wrong(format!("the answer is longer than {most} bytes")));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

fn unwell(path: &str, status: StatusCode) -> NoAnswer {
    let as_one = if status == StatusCode::SERVICE_UNAVAILABLE { ", as one does that is still loading" } else { "" };
    NoAnswer::Wrong(format!("{path} answers {status}{as_one}"))
}

fn away(error: &reqwest::Error) -> NoAnswer {
    let cause = cause(error);
    if error.is_connect() { NoAnswer::Away(cause) } else { NoAnswer::Broke(cause) }
}

/// The innermost cause, which names neither the URL nor a header.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn key(path: &Path) -> anyhow::Result<HeaderValue> {
    let name = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("the api_key_file {name} cannot be read"))?;
    let text = text.trim();
    ensure!(!text.is_empty() && text.len() <= KEY_BYTES, "the api_key_file {name} holds no key");
    // The error would hold the key.
    let value = HeaderValue::from_str(&format!("Bearer {text}")).ok();
    let mut value = value.with_context(|| format!("the api_key_file {name} holds what no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}
