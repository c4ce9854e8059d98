//! Failures as RFC 9457 problem documents with stable types.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What `Content-Type` a problem document is sent with.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// One failure, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{title}{}", detail.as_deref().map(|d| format!(": {d}")).unwrap_or_default())]
pub struct Problem {
    /// A stable relative URL such as `/problems/not-found`; programs compare this and nothing else.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the type means, in a few words; the same for every problem of the type.
    pub title: String,
    /// The HTTP status, repeated.
    pub status: u16,
    /// What was wrong this time and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The id under which the coordinator logged the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Every wrong field, if fields were wrong; for `unserved`, which job of a batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// For `unserved`: how many agents each requirement rules out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ruled_out: Vec<crate::scheduler::RuledOut>,
    /// For `too-many-requests`: the limits that were reached, as `RateLimit-Policy` names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violated_policies: Vec<String>,
    /// For `not-replicated`: the jobs that were accepted, in the order in which they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub job_ids: Vec<crate::ids::JobId>,
    /// The coordinator's time in milliseconds since the epoch, where the caller's clock was the trouble.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_time_ms: Option<i64>,
    /// For `events-lost`: what to ask for as `after` to go on with the oldest event that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_after: Option<u64>,
}

/// One field of a body that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) to the field.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

impl FieldError {
    /// `detail` about the field at `pointer`.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

macro_rules! problem_types {
    ($($(#[$doc:meta])* $name:ident = ($slug:literal, $status:literal, $title:literal),)*) => {
        /// Every type of problem that the coordinator answers with.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ProblemType { $($(#[$doc])* $name,)* }

        impl ProblemType {
            /// All types, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable relative URL of the type.
            #[must_use]
            pub fn uri(self) -> &'static str {
                match self { $(Self::$name => concat!("/problems/", $slug),)* }
            }

            /// The HTTP status that the type is answered with.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// What the type means, in a few words.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

problem_types! {
    /// The body is not JSON, or the request line, a header, an id, a query or a cursor is malformed.
    BadRequest = ("bad-request", 400, "The request is malformed"),
    /// No credential, or one that is wrong, expired or revoked.
    Unauthorized = ("unauthorized", 401, "A valid credential is needed"),
    /// An agent's signed proof is too old or too new by the coordinator's clock; `server_time_ms` tells it.
    ClockSkew = ("clock-skew", 401, "The proof was not made now"),
    /// The credential is good but does not allow this.
    Forbidden = ("forbidden", 403, "The credential does not allow this"),
    /// There is no such route, or no such thing in the caller's pool.
    NotFound = ("not-found", 404, "There is no such thing here"),
    /// No agent of the pool serves the model.
    ModelNotFound = ("model-not-found", 404, "No agent serves this model"),
    /// The route exists, the method does not; `Allow` lists those that do.
    MethodNotAllowed = ("method-not-allowed", 405, "The method is not allowed here"),
    /// The request did not arrive in time.
    RequestTimeout = ("request-timeout", 408, "The request took too long to arrive"),
    /// The state of the thing does not allow this.
    Conflict = ("conflict", 409, "The state does not allow this"),
    /// The attempt was cancelled or superseded; what it says is not taken in any more.
    StaleAttempt = ("stale-attempt", 409, "The attempt is no longer current"),
    /// The ticket was used before, or is for another agent.
    TicketGone = ("ticket-gone", 410, "The ticket is not good any more"),
    /// The registry does not know the agent; it should register again.
    UnknownAgent = ("unknown-agent", 410, "The agent is not registered"),
    /// A newer incarnation of the agent has registered; this one must stop.
    Superseded = ("superseded", 410, "A newer incarnation of the agent is registered"),
    /// An operator removed the agent; its credential is void.
    AgentRemoved = ("agent-removed", 410, "The agent was removed from the pool"),
    /// Events after the given one are kept no more, or there never was such an event; `next_after` says where to go on.
    EventsLost = ("events-lost", 410, "Some of these events are kept no more"),
    /// The body is longer than the route takes.
    TooLarge = ("too-large", 413, "The body is too large"),
    /// The body is not `application/json`.
    UnsupportedMediaType = ("unsupported-media-type", 415, "The body must be application/json"),
    /// The body is JSON but a field is missing, unknown, of the wrong type or out of bounds.
    Invalid = ("invalid", 422, "The request is not valid"),
    /// No registered agent could ever run this job.
    Unserved = ("unserved", 422, "No registered agent could ever run this job"),
    /// The same `Idempotency-Key` came with another body before.
    KeyReused = ("idempotency-key-reused", 422, "The Idempotency-Key was used with another body"),
    /// The API key has used up what it may do for now; `Retry-After` says when to come back.
    TooManyRequests = ("too-many-requests", 429, "Too many requests"),
    /// The coordinator has a bug; the request id finds it in the log.
    Internal = ("internal", 500, "The coordinator failed"),
    /// The model's backend answered with an error of its own, broke off, or could not be reached.
    BackendFailed = ("backend-failed", 502, "The model's backend failed"),
    /// The model's backend was silent for longer than the request allows.
    BackendStalled = ("backend-stalled", 504, "The model's backend was silent for too long"),
    /// No agent that has the model was free in the time that the request allows.
    DeadlinePassed = ("deadline-passed", 503, "No agent was free in time"),
    /// Redis is away, busy, read-only or moving; nothing was changed, or a repeat is harmless.
    StoreUnavailable = ("store-unavailable", 503, "The store is unavailable"),
    /// Redis has no memory left for new work.
    StoreFull = ("store-full", 503, "The store is full"),
    /// It is done, but no replica of Redis had it in time, so a failover may undo it; a repeat waits again.
    NotReplicated = ("not-replicated", 503, "No replica of the store has it yet"),
    /// The coordinator has more to do than it takes on at once.
    Overloaded = ("overloaded", 503, "The coordinator is overloaded"),
}

impl ProblemType {
    /// The type whose URL is `uri`, if there is one.
    #[must_use]
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|t| t.uri() == uri)
    }
}

impl Problem {
    /// A problem of a type, with nothing beside its title.
    #[must_use]
    pub fn new(kind: ProblemType) -> Self {
        Self {
            kind: kind.uri().to_owned(),
            title: kind.title().to_owned(),
            status: kind.status(),
            detail: None,
            request_id: None,
            errors: Vec::new(),
            ruled_out: Vec::new(),
            violated_policies: Vec::new(),
            job_ids: Vec::new(),
            server_time_ms: None,
            next_after: None,
        }
    }

    /// The problem that an error in OpenAI's shape tells of, `{"error": {"message", "code", …}}`; none if it has not that
    /// shape.
    #[must_use]
    pub fn of_openai(status: u16, body: &serde_json::Value) -> Option<Self> {
        let error = body.get("error")?;
        let message = error["message"].as_str()?;
        // A coordinator says it so, since its code is that of all its own failures.
        let of_store = message.strip_prefix(ProblemType::StoreUnavailable.title());
        let kind = match (error["code"].as_str().unwrap_or_default(), status) {
            ("model_not_found", _) => ProblemType::ModelNotFound,
            ("deadline_passed", _) => ProblemType::DeadlinePassed,
            ("backend_stalled", _) => ProblemType::BackendStalled,
            ("backend_failed", _) => ProblemType::BackendFailed,
            ("idempotency_key_reused", _) => ProblemType::KeyReused,
            ("server_error", _) if of_store.is_some() => ProblemType::StoreUnavailable,
            (_, 401) => ProblemType::Unauthorized,
            (_, 403) => ProblemType::Forbidden,
            (_, 404) => ProblemType::NotFound,
            (_, 413) => ProblemType::TooLarge,
            (_, 429) => ProblemType::TooManyRequests,
            (_, 503) => ProblemType::Overloaded,
            (_, 500..) => ProblemType::BackendFailed,
            _ => ProblemType::BadRequest,
        };
        let detail = of_store.map_or(message, |rest| rest.trim_start_matches(": "));
        Some(Self { status, ..Self::new(kind).with_detail(detail) })
    }

    /// The same problem with a detail.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Its type, if this build knows it.
    #[must_use]
    pub fn problem_type(&self) -> Option<ProblemType> {
        ProblemType::from_uri(&self.kind)
    }
}
