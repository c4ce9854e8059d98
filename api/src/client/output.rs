//! Reading a job's output: a piece at a time, or as it is written.

use reqwest::{Method, header};

use super::{CALL_TIMEOUT, Client, ClientError, Reply, query::Path, read_exact, sse::Event, stream::Stream};
use crate::{
    ids::JobId,
    output::{Mark, Output, OutputAttempt, OutputEnd, OutputGap},
    time::Since,
};

/// Where to read from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutputFrom {
    /// The attempt that was read before; another one is read from its start.
    pub attempt: Option<u32>,
    /// What tells it from another one of the same number.
    pub mark: Option<Mark>,
    /// From which byte on.
    pub offset: u64,
    /// Only what was accepted from then on.
    pub since: Option<Since>,
}

impl OutputFrom {
    /// Where the piece begins that follows this one.
    #[must_use]
    pub fn after(piece: &Output) -> Self {
        Self { attempt: Some(piece.attempt), mark: piece.mark, offset: piece.next_offset, since: None }
    }

    /// Whether a piece is of another attempt than what was read before.
    #[must_use]
    pub fn is_of_another(&self, piece: &Output) -> bool {
        self.attempt.is_some_and(|before| before != piece.attempt)
            || self.mark.zip(piece.mark).is_some_and(|(before, mark)| before != mark)
    }
}

/// Something that arrived on a stream of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputEvent {
    /// What `Last-Event-ID` resumes after it.
    pub id: Option<String>,
    /// What it says.
    pub what: OutputNews,
    /// The event's data as it came.
    pub json: String,
}

/// What an event of a stream of output says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputNews {
    /// Bytes were written.
    Output(Output),
    /// What follows was written by another attempt.
    Attempt(OutputAttempt),
    /// Bytes are kept no more.
    Gap(OutputGap),
    /// The job has ended, and all that it wrote has come.
    End(OutputEnd),
}

/// One connection on which output arrives.
#[derive(Debug)]
pub struct OutputEvents(Stream);

impl Client {
    /// `GET /api/v1/jobs/{id}/output`: a piece of what the job has written so far.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn output(&self, id: &JobId, from: OutputFrom) -> Result<Reply<Output>, ClientError> {
        let path = Path::new(format!("/api/v1/jobs/{id}/output"))
            .with("attempt", from.attempt)
            .with("mark", from.mark)
            .with("offset", Some(from.offset));
        let path = path.with_since(from.since);
        let request = self.request(Method::GET, &path.into_text()).timeout(CALL_TIMEOUT);
        read_exact(self.send(request).await?).await
    }

    /// `GET /api/v1/jobs/{id}/output` as an event stream: after `last_event_id`, or else from what was accepted at a time on, or
    /// from the start.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn output_events(
        &self,
        id: &JobId,
        last_event_id: Option<&str>,
        since: Option<Since>,
    ) -> Result<OutputEvents, ClientError> {
        let path = Path::new(format!("/api/v1/jobs/{id}/output")).with_since(since).into_text();
        let mut request = self.request(Method::GET, &path).header(header::ACCEPT, "text/event-stream");
        if let Some(last) = last_event_id {
            request = request.header("last-event-id", last);
        }
        Stream::of(self.send(request).await?).map(OutputEvents)
    }
}

impl OutputEvents {
    /// The next event, or none if the coordinator closed the stream. Events of types that this build does not know are
    /// passed over.
    ///
    /// # Errors
    /// [`ClientError`] if the connection broke or something came that cannot be read.
    pub async fn next(&mut self) -> Result<Option<OutputEvent>, ClientError> {
        while let Some(event) = self.0.next().await? {
            if let Some(what) = self.read(&event)? {
                return Ok(Some(OutputEvent { id: event.id, what, json: event.data }));
            }
        }
        Ok(None)
    }

    /// What the event says; none if its type is unknown.
    fn read(&self, event: &Event) -> Result<Option<OutputNews>, ClientError> {
        let data = event.data.as_str();
        let read = match event.name.as_str() {
            "output" => serde_json::from_str(data).map(OutputNews::Output),
            "attempt" => serde_json::from_str(data).map(OutputNews::Attempt),
            "gap" => serde_json::from_str(data).map(OutputNews::Gap),
            "end" => serde_json::from_str(data).map(OutputNews::End),
            _ => return Ok(None),
        };
        read.map(Some).map_err(|e| self.0.unexpected(&format!("with an event that cannot be read ({e})")))
    }
}
