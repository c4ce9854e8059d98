//! Events: messages on topics, by clients and by the pool itself.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{ids::EventTopic, time::Timestamp};

/// Beginnings of the topics on which only the pool itself publishes.
pub const RESERVED: [&str; 3] = ["agent.", "job.", "breaker."];

/// The body of `POST /api/v1/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishEvent {
    /// What it is about: none that begins with `agent.`, `job.` or `breaker.`.
    pub topic: EventTopic,
    /// What there is to say: any JSON, at most 4 KiB without spaces.
    #[serde(default)]
    pub payload: Value,
}

impl PublishEvent {
    /// Whether only the pool itself publishes on the topic.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        RESERVED.iter().any(|beginning| self.topic.as_str().starts_with(beginning))
    }
}

/// The reply to `POST /api/v1/events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishedEvent {
    /// The event's number.
    pub id: u64,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its number in the pool. Numbers rise by one, over all topics.
    pub id: u64,
    /// When it was published.
    pub at: Timestamp,
    /// What it is about. The pool's own: `agent.registered`, `agent.drained`, `agent.resumed`, `agent.removed`,
    /// `agent.forgotten`; `job.completed`, `job.failed`, `job.cancelled`, `job.retried`; `breaker.` and the state that an
    /// agent came into, and `breaker.guarded`.
    pub topic: EventTopic,
    /// What there is to say.
    pub payload: Value,
}

/// The reply to `GET /api/v1/events`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct EventList {
    /// The events on topics with the prefix, in their order, at most 500.
    pub events: Vec<Event>,
    /// What to ask for as `after` next. It moves on past events on other topics too.
    pub next_after: u64,
    /// Whether more events are there to be read at once.
    pub more: bool,
}

/// Data of an event `gap` of the stream: events are missing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventGap {
    /// The number of the next event that is kept, or of the next one that comes.
    pub next: u64,
}
