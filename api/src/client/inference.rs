//! Calls about models: which there are, what they answer, and where a request would go.

use std::collections::VecDeque;

use reqwest::{Method, Response};
use serde_json::Value;

use super::{
    CALL_TIMEOUT, Client, ClientError, Reply,
    query::Path,
    read_exact,
    sse::{Event, Parser},
    unreachable_error,
};
use crate::{
    inference::{FleetModels, RequestInference, RoutedInference},
    problem::Problem,
};

/// An answer of a model that arrives piece by piece.
#[derive(Debug)]
pub struct Answer {
    url: String,
    response: Response,
    parser: Parser,
    arrived: VecDeque<Event>,
    /// The id of the request, which is that of its job.
    pub request_id: Option<String>,
}

impl Client {
    /// `GET /api/v1/models`: the models of the fleet.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn models(&self) -> Result<Reply<FleetModels>, ClientError> {
        self.fetch(Method::GET, Path::new("/api/v1/models")).await
    }

    /// `POST /api/v1/inference/request`: where a request would go; `explain` asks why.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn route(&self, wish: &RequestInference, explain: bool) -> Result<Reply<RoutedInference>, ClientError> {
        let path = Path::new("/api/v1/inference/request").with("explain", explain.then_some(true));
        let request = self.request(Method::POST, &path.into_text()).json(wish).timeout(CALL_TIMEOUT);
        read_exact(self.send(request).await?).await
    }

    /// `POST /v1/chat/completions`, streamed. `session` names the conversation.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn chat(&self, model: &str, messages: &[Value], session: Option<&str>) -> Result<Answer, ClientError> {
        let body = serde_json::json!({ "model": model, "messages": messages, "stream": true });
        let mut request = self.request(Method::POST, "/v1/chat/completions").json(&body);
        if let Some(session) = session {
            request = request.header("x-titan-session", session);
        }
        let response = self.send(request).await?;
        let request_id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let url = response.url().to_string();
        Ok(Answer { url, response, parser: Parser::default(), arrived: VecDeque::new(), request_id })
    }
}

impl Answer {
    /// The next piece of text; none at the end.
    ///
    /// # Errors
    /// [`ClientError`] if the answer broke off.
    pub async fn next(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            while let Some(event) = self.arrived.pop_front() {
                if event.data == "[DONE]" {
                    return Ok(None);
                }
                let text = self.text(&event.data)?;
                if !text.is_empty() {
                    return Ok(Some(text));
                }
            }
            let bytes = self.response.chunk().await.map_err(|e| unreachable_error(&self.url, &e))?;
            let Some(bytes) = bytes else { return Ok(None) };
            self.arrived.extend(self.parser.push(&bytes).map_err(|e| self.unexpected(e.to_string()))?);
        }
    }

    fn text(&self, data: &str) -> Result<String, ClientError> {
        let value: Value = serde_json::from_str(data).map_err(|e| self.unexpected(format!("with no JSON ({e})")))?;
        if let Some(problem) = Problem::of_openai(502, &value) {
            return Err(ClientError::Refused { problem: Box::new(problem), retry_after: None });
        }
        Ok(value["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned())
    }

    fn unexpected(&self, status: String) -> ClientError {
        ClientError::Unexpected { url: self.url.clone(), status }
    }
}
