//! One connection on which server-sent events arrive.

use std::collections::VecDeque;

use reqwest::{Response, header};

use super::{
    ClientError,
    sse::{Event, Parser},
    unreachable_error,
};

/// The connection, whatever its events say.
#[derive(Debug)]
pub(super) struct Stream {
    url: String,
    response: Response,
    parser: Parser,
    arrived: VecDeque<Event>,
}

impl Stream {
    pub(super) fn of(response: Response) -> Result<Self, ClientError> {
        let url = response.url().to_string();
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            return Err(ClientError::Unexpected { url, status: format!("with {kind:?} instead of an event stream") });
        }
        Ok(Self { url, response, parser: Parser::default(), arrived: VecDeque::new() })
    }

    /// The next event, or none if the coordinator closed the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(event) = self.arrived.pop_front() {
                return Ok(Some(event));
            }
            let bytes = self.response.chunk().await.map_err(|e| unreachable_error(&self.url, &e))?;
            let Some(bytes) = bytes else { return Ok(None) };
            let events = self.parser.push(&bytes).map_err(|e| self.unexpected(&e.to_string()))?;
            self.arrived.extend(events);
        }
    }

    /// The id that came last, be it without an event; only when no event waits to be taken, else one that is to come.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.arrived.is_empty().then(|| self.parser.last_id()).flatten()
    }

    /// That something came which cannot be read.
    pub(super) fn unexpected(&self, status: &str) -> ClientError {
        ClientError::Unexpected { url: self.url.clone(), status: status.to_owned() }
    }
}
