//! Reading a job's output: a piece at a time, or as it is written.

use std::collections::VecDeque;

use reqwest::{Method, Response, header};

use super::{
    CALL_TIMEOUT, Client, ClientError, Reply,
    query::Path,
    read_exact,
    sse::{Event, Parser},
    unreachable_error,
};
use crate::{ids::JobId, output::Output};

/// Where to read from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutputFrom {
    /// The attempt that was read before; another one is read from its start.
    pub attempt: Option<u32>,
    /// From which byte on.
    pub offset: u64,
}

/// Output as it arrived on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputEvent {
    /// What `Last-Event-ID` resumes after it.
    pub id: Option<String>,
    /// The output.
    pub output: Output,
    /// The event's data as it came.
    pub json: String,
}

/// One connection on which output arrives.
#[derive(Debug)]
pub struct OutputEvents {
    url: String,
    response: Response,
    parser: Parser,
    arrived: VecDeque<Event>,
}

impl Client {
    /// `GET /api/v1/jobs/{id}/output`: a piece of what the job has written so far.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn output(&self, id: &JobId, from: OutputFrom) -> Result<Reply<Output>, ClientError> {
        let path = Path::new(format!("/api/v1/jobs/{id}/output"))
            .with("attempt", from.attempt)
            .with("offset", Some(from.offset));
        let request = self.request(Method::GET, &path.into_text()).timeout(CALL_TIMEOUT);
        read_exact(self.send(request).await?).await
    }

    /// `GET /api/v1/jobs/{id}/output` as an event stream, from the start or after `last_event_id`.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn output_events(&self, id: &JobId, last_event_id: Option<&str>) -> Result<OutputEvents, ClientError> {
        let path = format!("/api/v1/jobs/{id}/output");
        let mut request = self.request(Method::GET, &path).header(header::ACCEPT, "text/event-stream");
        if let Some(last) = last_event_id {
            request = request.header("last-event-id", last);
        }
        OutputEvents::of(self.send(request).await?)
    }
}

impl OutputEvents {
    fn of(response: Response) -> Result<Self, ClientError> {
        let url = response.url().to_string();
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            return Err(ClientError::Unexpected { url, status: format!("with {kind:?} instead of an event stream") });
        }
        Ok(Self { url, response, parser: Parser::default(), arrived: VecDeque::new() })
    }

    /// The next output, or none if the coordinator closed the stream.
    ///
    /// # Errors
    /// [`ClientError`] if the connection broke or something else than output came.
    pub async fn next(&mut self) -> Result<Option<OutputEvent>, ClientError> {
        loop {
            while let Some(event) = self.arrived.pop_front() {
                match event.name.as_str() {
                    "output" => return self.read(event).map(Some),
                    "problem" => return Err(self.problem(&event)),
                    _ => {}
                }
            }
            let bytes = self.response.chunk().await.map_err(|e| unreachable_error(&self.url, &e))?;
            let Some(bytes) = bytes else { return Ok(None) };
            let events = self.parser.push(&bytes).map_err(|e| self.unexpected(&e.to_string()))?;
            self.arrived.extend(events);
        }
    }

    fn read(&self, event: Event) -> Result<OutputEvent, ClientError> {
        let output = serde_json::from_str(&event.data)
            .map_err(|e| self.unexpected(&format!("with an event that cannot be read ({e})")))?;
        Ok(OutputEvent { id: event.id, output, json: event.data })
    }

    /// The coordinator could not go on and said why.
    fn problem(&self, event: &Event) -> ClientError {
        match serde_json::from_str(&event.data) {
            Ok(problem) => ClientError::Refused { problem: Box::new(problem), retry_after: None },
            Err(_) => self.unexpected("with a problem that cannot be read"),
        }
    }

    fn unexpected(&self, status: &str) -> ClientError {
        ClientError::Unexpected { url: self.url.clone(), status: status.to_owned() }
    }
}
