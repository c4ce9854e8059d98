//! A small typed HTTP client: sends one of this crate's types, reads another, and turns every failure into one error.
//!
//! This file is the core that clients, administrators and agents share; the files beside it add a method for each route
//! that clients and administrators call.

mod admin;
mod agents;
mod events;
mod inference;
mod jobs;
mod output;
mod pull;
mod query;
mod reply;
pub mod sse;
mod status;
mod stream;
mod trouble;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, header};
use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    events::{EventFilter, EventNews, EventStream},
    inference::{Answer, AnswerPart, ChatWish},
    jobs::JobFilter,
    output::{OutputEvent, OutputEvents, OutputFrom, OutputNews},
    reply::Reply,
    trouble::{advice_for, date_of},
};
use crate::{
    headers,
    problem::{Problem, ProblemType},
    trace::TraceContext,
};

/// Longest reply that is read into memory: 16 MiB.
const MAX_REPLY_BYTES: usize = 16 * 1024 * 1024;
/// No answer makes a caller wait longer than this, whatever its `Retry-After` says.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);
/// How the HTTP library, which tells it in words alone, begins to say that an answer is no HTTP, or came before it was asked.
const NOT_HTTP: [&str; 2] = ["invalid HTTP", "received unexpected message"];
/// How long a call of a client or an administrator may take beside the time that it asks the coordinator to wait.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A call that did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The coordinator refused the call and said why.
    #[error("{problem}")]
    Refused {
        /// What it said.
        problem: Box<Problem>,
        /// When to come back, from `Retry-After`; 5 minutes at most.
        retry_after: Option<Duration>,
    },
    /// Something answered, but not as a coordinator would.
    #[error("{url} answered {status}, which is no answer of a TitanCompute coordinator")]
    Unexpected {
        /// The URL that was called.
        url: String,
        /// The status and what came with it.
        status: String,
    },
    /// Something answered, and not in HTTP.
    #[error("what answers at {url} does not speak HTTP")]
    NotHttp {
        /// The URL that was called.
        url: String,
    },
    /// Nobody answered.
    #[error("{url} cannot be reached: {cause}")]
    Unreachable {
        /// The URL that was called.
        url: String,
        /// The innermost cause.
        cause: String,
        /// Whether a connection was made, so that the call may have done its work.
        connected: bool,
    },
}

impl ClientError {
    /// The problem, if the coordinator sent one.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// Whether the call may have done its work all the same: a connection broke before the answer came, or the store did
    /// not answer in time.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        match self {
            Self::Refused { problem, .. } => problem.problem_type() == Some(ProblemType::StoreUnavailable),
            Self::Unexpected { status, .. } => !status.starts_with('4'),
            Self::NotHttp { .. } => false,
            Self::Unreachable { connected, .. } => *connected,
        }
    }

    /// Whether the same call may succeed later: nobody answered, or the answer was 429 or 5xx.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { problem, .. } => problem.status == 429 || problem.status >= 500,
            // Proxies say so of a coordinator that is away; a server that knows no such call is another one.
            Self::Unexpected { status, .. } => {
                status.starts_with('5') && !["501", "505"].iter().any(|wrong| status.starts_with(wrong))
            }
            Self::NotHttp { .. } => false,
            Self::Unreachable { .. } => true,
        }
    }
}

/// Calls one coordinator with one bearer. Cloning is cheap and shares the connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    bearer: Option<String>,
    pool: Option<String>,
    trace: Option<TraceContext>,
}

impl Client {
    /// A client for the coordinator at `base`, for example `http://127.0.0.1:8080`.
    #[must_use]
    pub fn new(http: reqwest::Client, base: &str) -> Self {
        Self { http, base: base.trim_end_matches('/').to_owned(), bearer: None, pool: None, trace: None }
    }

    /// The same client with a bearer.
    #[must_use]
    pub fn with_bearer(mut self, bearer: impl Into<String>) -> Self {
        self.bearer = Some(bearer.into());
        self
    }

    /// The same client, acting in `pool`; only an admin token may name one.
    #[must_use]
    pub fn with_pool(mut self, pool: impl Into<String>) -> Self {
        self.pool = Some(pool.into());
        self
    }

    /// The same client, whose jobs are part of a trace.
    #[must_use]
    pub fn with_trace(mut self, trace: Option<TraceContext>) -> Self {
        self.trace = trace;
        self
    }

    /// The URL of the coordinator.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// `GET path`.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn get<R: DeserializeOwned>(&self, path: &str) -> Result<R, ClientError> {
        read(self.send(self.request(Method::GET, path)).await?).await
    }

    /// `POST path` with a body.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn post<B: Serialize + Sync + ?Sized, R: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<R, ClientError> {
        read(self.send(self.request(Method::POST, path).json(body)).await?).await
    }

    /// `PUT path` with a body.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn put<B: Serialize + Sync + ?Sized, R: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<R, ClientError> {
        read(self.send(self.request(Method::PUT, path).json(body)).await?).await
    }

    /// `DELETE path`, which answers without a body.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn delete(&self, path: &str) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, path)).await.map(drop)
    }

    /// A request with the bearer set, to be sent by [`Client::send`].
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(bearer) = &self.bearer {
            request = request.bearer_auth(bearer);
        }
        if let Some(pool) = &self.pool {
            request = request.header(headers::POOL, pool);
        }
        request
    }

    /// Sends a request; a reply other than 2xx becomes an error.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|e| unreachable_error(&self.base, &e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let retry_after = retry_after(response.headers());
        let (url, status) = (response.url().to_string(), response.status());
        let request_id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let body = bounded_body(response).await?;
        let of_openai = || {
            let problem = Problem::of_openai(status.as_u16(), &serde_json::from_slice(&body).ok()?)?;
            Some(Problem { request_id, ..problem })
        };
        match serde_json::from_slice::<Problem>(&body).ok().or_else(of_openai) {
            Some(problem) => Err(ClientError::Refused { problem: Box::new(problem), retry_after }),
            None => Err(ClientError::Unexpected { url, status: status.to_string() }),
        }
    }
}

/// The seconds of `Retry-After`; a number too large for them still asks for a wait. Dates are not understood.
fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)).min(MAX_RETRY_AFTER))
}

async fn read<R: DeserializeOwned>(response: Response) -> Result<R, ClientError> {
    read_exact(response).await.map(Reply::into_value)
}

/// Reads a body and keeps its text.
async fn read_exact<R: DeserializeOwned>(response: Response) -> Result<Reply<R>, ClientError> {
    let (url, status) = (response.url().to_string(), response.status());
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_page = kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"));
    let body = bounded_body(response).await?;
    Reply::parse(body).map_err(|e| {
        let what = if is_page { "a page for browsers".to_owned() } else { format!("a body that cannot be read ({e})") };
        ClientError::Unexpected { url, status: format!("{status} with {what}") }
    })
}

async fn bounded_body(mut response: Response) -> Result<Vec<u8>, ClientError> {
    let url = response.url().to_string();
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|e| unreachable_error(&url, &e))? {
        if body.len() + part.len() > MAX_REPLY_BYTES {
            return Err(ClientError::Unexpected { url, status: "with more than 16 MiB".to_owned() });
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

fn unreachable_error(url: &str, error: &reqwest::Error) -> ClientError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let cause = cause.to_string();
    if NOT_HTTP.iter().any(|words| cause.starts_with(words)) {
        return ClientError::NotHttp { url: url.to_owned() };
    }
    ClientError::Unreachable { url: url.to_owned(), cause, connected: !error.is_connect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_makes_a_caller_wait_for_more_than_five_minutes() {
        let wait =
            |text: &str| retry_after(&header::HeaderMap::from_iter([(header::RETRY_AFTER, text.try_into().unwrap())]));
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("18446744073709551615"), Some(MAX_RETRY_AFTER));
        assert_eq!(wait("99999999999999999999999"), Some(MAX_RETRY_AFTER));
        assert_eq!((wait("-1"), wait(""), wait("soon")), (None, None, None));
    }
}
