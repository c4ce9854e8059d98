//! Publishing events, and reading them: a page at a time, or as they come.

use std::time::Duration;

use reqwest::{Method, header};

use super::{CALL_TIMEOUT, Client, ClientError, Reply, query::Path, read_exact, sse, stream::Stream};
use crate::{
    events::{Event, EventGap, EventList, PublishEvent, PublishedEvent},
    ids::EventTopic,
    time::Since,
};

/// Which events to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// What their topics begin with; all without it.
    pub topic: Option<EventTopic>,
    /// The last one that was read, 0 for all that are kept; without it only those from now on.
    pub after: Option<u64>,
    /// Only those that were published from then on.
    pub since: Option<Since>,
}

/// Something that arrived on a stream of events.
#[derive(Debug, Clone, PartialEq)]
pub enum EventNews {
    /// An event.
    Event {
        /// It.
        event: Event,
        /// Its JSON as it came.
        json: String,
    },
    /// Events before that number are kept no more.
    Gap(EventGap),
}

/// One connection on which events arrive.
#[derive(Debug)]
pub struct EventStream {
    stream: Stream,
    after: Option<u64>,
}

impl Client {
    /// `POST /api/v1/events`: publishes an event; a repeat with the same key gives the same one.
    ///
    /// # Errors
    /// [`ClientError`], as for every call. After [`ClientError::Unreachable`] it is not known whether it was published.
    pub async fn publish_event(
        &self,
        event: &PublishEvent,
        idempotency_key: Option<&str>,
    ) -> Result<Reply<PublishedEvent>, ClientError> {
        let mut request = self.request(Method::POST, "/api/v1/events").json(event).timeout(CALL_TIMEOUT);
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        read_exact(self.send(request).await?).await
    }

    /// `GET /api/v1/events`: a page of events. With `wait` the answer comes when there is one or the time is over, at most
    /// 20 s.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn events(&self, filter: &EventFilter, wait: Option<Duration>) -> Result<Reply<EventList>, ClientError> {
        let path = path(filter).with("wait_ms", wait.map(|w| w.as_millis()));
        let request = self.request(Method::GET, &path.into_text()).timeout(CALL_TIMEOUT + wait.unwrap_or_default());
        read_exact(self.send(request).await?).await
    }

    /// `GET /api/v1/events` as an event stream.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn event_stream(&self, filter: &EventFilter) -> Result<EventStream, ClientError> {
        let request = self.request(Method::GET, &path(filter).into_text()).header(header::ACCEPT, "text/event-stream");
        let stream = Stream::of(self.send(request).await?)?;
        Ok(EventStream { stream, after: filter.after })
    }
}

fn path(filter: &EventFilter) -> Path {
    Path::new("/api/v1/events")
        .with("topic", filter.topic.as_ref())
        .with("after", filter.after)
        .with_since(filter.since)
}

impl EventStream {
    /// What comes next, or none if the coordinator closed the stream. What this build does not know is passed over.
    ///
    /// # Errors
    /// [`ClientError`] if the connection broke or something came that cannot be read.
    pub async fn next(&mut self) -> Result<Option<EventNews>, ClientError> {
        while let Some(event) = self.stream.next().await? {
            self.after = event.id.as_deref().and_then(|id| id.parse().ok()).or(self.after);
            if let Some(news) = self.read(&event)? {
                return Ok(Some(news));
            }
        }
        Ok(None)
    }

    /// After which event another stream would go on where this one is. The coordinator tells it at the beginning and now
    /// and then, even if nothing happens on the topic.
    #[must_use]
    pub fn after(&self) -> Option<u64> {
        self.stream.last_id().and_then(|id| id.parse().ok()).or(self.after)
    }

    fn read(&self, event: &sse::Event) -> Result<Option<EventNews>, ClientError> {
        let data = event.data.as_str();
        let read = match event.name.as_str() {
            "event" => {
                serde_json::from_str(data).map(|read| EventNews::Event { event: read, json: event.data.clone() })
            }
            "gap" => serde_json::from_str(data).map(EventNews::Gap),
            _ => return Ok(None),
        };
        read.map(Some).map_err(|e| self.stream.unexpected(&format!("with an event that cannot be read ({e})")))
    }
}
