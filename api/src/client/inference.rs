//! Calls about models, and answers of models as they are written.

use reqwest::{Method, Response};
use serde_json::Value;

use super::{CALL_TIMEOUT, Client, ClientError, Reply, query::Path, read_exact, stream::Stream};
use crate::{
    headers,
    inference::{FleetModels, RequestInference, RoutedInference},
    problem::Problem,
};

/// Something that arrived while a model answers.
#[derive(Debug, Clone, PartialEq)]
pub enum AnswerPart {
    /// A piece of text.
    Text(String),
    /// What else an event held, such as the usage at the end.
    Other(Value),
}

/// What is wanted of the coordinator beside an answer.
#[derive(Debug, Clone, Default)]
pub struct ChatWish {
    /// If the agent fails in the middle of an answer, another one goes on with it.
    pub failover: bool,
    /// The conversation that the request belongs to: the agent that has it warm goes before.
    pub session: Option<String>,
}

/// The status of a failure that comes after the reply has begun.
const BAD_GATEWAY: u16 = 502;

/// An answer of a model while it is written.
#[derive(Debug)]
pub struct Answer {
    stream: Stream,
    /// The id of the request, which its job has as well.
    request_id: Option<String>,
}

impl Client {
    /// `GET /api/v1/models`: what the fleet can answer.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn models(&self) -> Result<Reply<FleetModels>, ClientError> {
        self.fetch(Method::GET, Path::new("/api/v1/models")).await
    }

    /// `POST /api/v1/inference/request`: which agent would answer, and a ticket for it if it can be called directly. Its
    /// place is kept for some seconds.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn route_inference(
        &self,
        wish: &RequestInference,
        explain: bool,
    ) -> Result<Reply<RoutedInference>, ClientError> {
        let path = Path::new("/api/v1/inference/request").with("explain", explain.then_some(true));
        let request = self.request(Method::POST, &path.into_text()).json(wish).timeout(CALL_TIMEOUT);
        read_exact(self.send(request).await?).await
    }

    /// `POST /v1/chat/completions`, whole: the answer's JSON as it came. It waits as long as the coordinator does.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn complete_chat(&self, body: &Value, wish: &ChatWish) -> Result<Reply<Value>, ClientError> {
        read_exact(self.send_chat(body, wish).await?).await
    }

    /// `POST /v1/chat/completions` with `"stream": true` in the body: the answer as it is written. Dropping it ends it.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn stream_chat(&self, body: &Value, wish: &ChatWish) -> Result<Answer, ClientError> {
        let response = self.send_chat(body, wish).await?;
        let request_id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        Ok(Answer { stream: Stream::of(response)?, request_id })
    }

    /// Sends the body of a conversation, as `wish` wants it.
    async fn send_chat(&self, body: &Value, wish: &ChatWish) -> Result<Response, ClientError> {
        let mut request = self.request(Method::POST, "/v1/chat/completions").json(body);
        if wish.failover {
            request = request.header(headers::FAILOVER, "continue");
        }
        if let Some(session) = &wish.session {
            request = request.header(headers::SESSION, session);
        }
        self.send(request).await
    }
}

impl Answer {
    /// The next part; none at the end.
    ///
    /// # Errors
    /// [`ClientError`] if the answer breaks off: what came before it is all there will be.
    pub async fn next(&mut self) -> Result<Option<AnswerPart>, ClientError> {
        match self.stream.next().await? {
            Some(event) if event.data == "[DONE]" => Ok(None),
            Some(event) => self.part(&event.data).map(Some),
            None => Err(self.stream.unexpected("with an answer that breaks off")),
        }
    }

    fn part(&self, data: &str) -> Result<AnswerPart, ClientError> {
        let value: Value = serde_json::from_str(data)
            .map_err(|e| self.stream.unexpected(&format!("with an event that is no JSON ({e})")))?;
        if let Some(problem) = Problem::of_openai(BAD_GATEWAY, &value) {
            let problem = Problem { request_id: self.request_id.clone(), ..problem };
            return Err(ClientError::Refused { problem: Box::new(problem), retry_after: None });
        }
        match value.pointer("/choices/0/delta/content").and_then(Value::as_str) {
            Some(text) => Ok(AnswerPart::Text(text.to_owned())),
            None => Ok(AnswerPart::Other(value)),
        }
    }
}
