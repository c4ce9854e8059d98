//! Everything that a request can be refused for, and the one table from that to a problem document.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use titan_api::{
    problem::{FieldError, Problem, ProblemType},
    scheduler::RuledOut,
};
use titan_lua::{StoreError, agents::TurnedAway};

use crate::{jitter, quotas::Exhausted};

const MIB: u64 = 1 << 20;
const NOT_REPLICATED: &str = "it is done, but a failover of Redis may undo it yet: repeat the call to wait again";
const JOBS_NOT_REPLICATED: &str = "the jobs in `job_ids` are accepted, but a failover of Redis may undo it yet: repeat the \
    call with the same Idempotency-Key to wait again, or, if it had none, look for the jobs";
const KEYS_LOST: &str =
    "Redis has lost all API keys; if they do not come back with its data, an administrator must make new ones";
const UNSERVED: &str = "change `requirements`, or set `allow_unserved` if a fitting agent will come";

/// A refused request. Texts go to the caller; the inside of `Store` and `Internal` goes to the log only.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Unauthorized(String),
    #[error("the proof's `iat` is more than 60 s from the coordinator's time")]
    ClockSkew { server_time_ms: i64 },
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    NotFound(String),
    #[error("method not allowed")]
    MethodNotAllowed,
    #[error("the body took too long to arrive")]
    BodyTimeout,
    #[error("{0}")]
    Conflict(String),
    #[error("the agent was turned away: {0:?}")]
    TurnedAway(TurnedAway),
    #[error("the body is too large")]
    TooLarge { most: Option<u64> },
    #[error("{0}")]
    MediaType(String),
    #[error("{} fields are wrong", .0.len())]
    Invalid(Vec<FieldError>),
    #[error("no registered agent could ever run the job")]
    Unserved {
        /// Which job of a batch, as a JSON pointer.
        place: Option<String>,
        ruled_out: Vec<RuledOut>,
    },
    #[error("the Idempotency-Key was used with another body")]
    KeyReused,
    #[error("an Idempotency-Key for a secret that is shown once")]
    KeyUseless,
    /// Events that were asked for are kept no more; the first that is.
    #[error("events before {first} are kept no more")]
    EventsLost { first: u64 },
    #[error("{0}")]
    ModelNotFound(String),
    /// No agent began a request in time.
    #[error("{0}")]
    DeadlinePassed(String),
    #[error("{0}")]
    BackendFailed(String),
    #[error("{0}")]
    BackendStalled(String),
    #[error("the attempt is no longer current")]
    StaleAttempt,
    #[error("the ticket was used, or is not for this agent")]
    TicketGone,
    #[error("there is no place for a ticket that comes late")]
    NoPlace,
    #[error("the API key has {most} unused tickets")]
    TooManyTickets { most: u32, retry_after_s: u64 },
    /// An API key has used up one of its quotas.
    #[error("{}", .0.detail)]
    TooMany(Box<Exhausted>),
    /// An API key has had as many classes made as it may for now.
    #[error("too many new kinds of jobs")]
    TooManyClasses { wait: Duration },
    #[error("{0}")]
    Overloaded(String),
    /// Redis did not answer a call that makes something new each time.
    #[error("{cause}")]
    Unsure { advice: String, cause: StoreError },
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A Redis that has lost its data knows no key, good or not.
    #[error("Redis has lost all API keys")]
    KeysLost,
    #[error("{0}")]
    Internal(String),
}

impl From<TurnedAway> for ApiError {
    fn from(why: TurnedAway) -> Self {
        Self::TurnedAway(why)
    }
}

impl ApiError {
    /// One wrong field.
    pub(crate) fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(pointer, detail)])
    }

    /// For calls that make something new each time: if it is not known whether it was made, `advice` says where to
    /// look.
    pub(crate) fn unsure(cause: StoreError, advice: impl FnOnce() -> String) -> Self {
        match cause {
            StoreError::Unavailable(_) => Self::Unsure { advice: advice(), cause },
            StoreError::NotReplicated { ref jobs } if jobs.is_empty() => Self::Unsure { advice: advice(), cause },
            other => Self::Store(other),
        }
    }

    /// The table: the problem type, and with it status and title.
    fn kind(&self) -> ProblemType {
        match self {
            Self::BadRequest(_) => ProblemType::BadRequest,
            Self::Unauthorized(_) => ProblemType::Unauthorized,
            Self::ClockSkew { .. } => ProblemType::ClockSkew,
            Self::Forbidden(_) => ProblemType::Forbidden,
            Self::NotFound(_) => ProblemType::NotFound,
            Self::MethodNotAllowed => ProblemType::MethodNotAllowed,
            Self::BodyTimeout => ProblemType::RequestTimeout,
            Self::Conflict(_) => ProblemType::Conflict,
            Self::TurnedAway(TurnedAway::Unknown) => ProblemType::UnknownAgent,
            Self::TurnedAway(TurnedAway::Superseded) => ProblemType::Superseded,
            Self::TurnedAway(TurnedAway::Removed) => ProblemType::AgentRemoved,
            Self::TooLarge { .. } => ProblemType::TooLarge,
            Self::MediaType(_) => ProblemType::UnsupportedMediaType,
            Self::Invalid(_) | Self::KeyUseless => ProblemType::Invalid,
            Self::Unserved { .. } => ProblemType::Unserved,
            Self::KeyReused => ProblemType::KeyReused,
            Self::EventsLost { .. } => ProblemType::EventsLost,
            Self::ModelNotFound(_) => ProblemType::ModelNotFound,
            Self::DeadlinePassed(_) => ProblemType::DeadlinePassed,
            Self::BackendFailed(_) => ProblemType::BackendFailed,
            Self::BackendStalled(_) => ProblemType::BackendStalled,
            Self::StaleAttempt => ProblemType::StaleAttempt,
            Self::TicketGone => ProblemType::TicketGone,
            Self::TooMany(_) | Self::TooManyClasses { .. } | Self::TooManyTickets { .. } | Self::NoPlace => {
                ProblemType::TooManyRequests
            }
            Self::Overloaded(_) => ProblemType::Overloaded,
            Self::Unsure { cause: StoreError::NotReplicated { .. }, .. }
            | Self::Store(StoreError::NotReplicated { .. }) => ProblemType::NotReplicated,
            Self::Unsure { .. }
            | Self::KeysLost
            | Self::Store(StoreError::Unavailable(_) | StoreError::Moving(_) | StoreError::Late { .. }) => {
                ProblemType::StoreUnavailable
            }
            Self::Store(StoreError::Full(_)) => ProblemType::StoreFull,
            Self::Store(StoreError::Corrupt(_) | StoreError::Url(_)) | Self::Internal(_) => ProblemType::Internal,
        }
    }

    fn detail(&self) -> Option<String> {
        let text = match self {
            Self::BadRequest(text)
            | Self::Unauthorized(text)
            | Self::Forbidden(text)
            | Self::NotFound(text)
            | Self::Conflict(text)
            | Self::MediaType(text)
            | Self::Overloaded(text)
            | Self::ModelNotFound(text)
            | Self::DeadlinePassed(text)
            | Self::BackendFailed(text)
            | Self::BackendStalled(text)
            | Self::Unsure { advice: text, .. } => text,
            Self::TooMany(exhausted) => &exhausted.detail,
            Self::TooManyTickets { most, .. } => {
                return Some(format!("the API key has {most} tickets that it did not use; use them, or wait"));
            }
            Self::NoPlace => {
                "the ticket came after its place was given up, and there is no other now; ask for a new one"
            }
            Self::TicketGone => "a ticket is good once, on the agent that it names; ask for a new one",
            Self::StaleAttempt => "the job was cancelled, or another attempt has begun: end this one",
            Self::TooManyClasses { .. } => {
                "the job asks for agent labels or GPUs as no job of this pool did of late, and the API key may do that 64 times a minute; nothing was changed, and jobs of known kinds are accepted on"
            }
            Self::ClockSkew { .. } => "make the proof again with the time in `server_time_ms`",
            Self::MethodNotAllowed => "the header `Allow` lists the methods of this route",
            Self::BodyTimeout => "send the whole body without pauses of more than 10 s, within a minute",
            Self::TurnedAway(TurnedAway::Unknown) => "register again",
            Self::TurnedAway(TurnedAway::Superseded) => "another process runs under this agent's id; this one must end",
            Self::TurnedAway(TurnedAway::Removed) => {
                "an operator removed this agent; to bring the box back, delete the agent's state folder and join anew"
            }
            Self::TooLarge { most: None } => "send less in one request",
            Self::TooLarge { most: Some(most) } => {
                return Some(format!("the body of this call may have {}; send less in one request", in_units(*most)));
            }
            Self::Unserved { .. } => UNSERVED,
            Self::KeyReused => "send a new key for a new body; the same key is for repeating a call unchanged",
            Self::KeyUseless => {
                "a secret is shown once, so a repeat could not give the same answer: send this call without `Idempotency-Key`; \
                 if its answer is lost, list what there is, revoke what was made, and make another"
            }
            Self::EventsLost { .. } => {
                "go on with `next_after` as `after`; what happened before is told by lists and jobs"
            }
            Self::Store(StoreError::Unavailable(_) | StoreError::Moving(_) | StoreError::Late { .. }) => {
                "nothing was changed, or a repeat of the request is harmless; try again"
            }
            Self::KeysLost => KEYS_LOST,
            Self::Store(StoreError::NotReplicated { jobs }) if jobs.is_empty() => NOT_REPLICATED,
            Self::Store(StoreError::NotReplicated { .. }) => JOBS_NOT_REPLICATED,
            Self::Store(StoreError::Full(_)) => "nothing was changed; what runs goes on, new work must wait for memory",
            Self::Store(StoreError::Corrupt(_) | StoreError::Url(_)) | Self::Internal(_) => {
                "the log has the cause, under the request's id"
            }
            Self::Invalid(_) => return None,
        };
        Some(text.to_owned())
    }

    /// What the caller is told.
    pub(crate) fn problem(&self) -> Problem {
        let mut problem = Problem::new(self.kind());
        problem.detail = self.detail();
        match self {
            Self::Invalid(errors) => problem.errors.clone_from(errors),
            Self::Unserved { place, ruled_out } => {
                problem.errors.extend(place.as_ref().map(|place| FieldError::new(place, "no agent could ever run it")));
                problem.ruled_out.clone_from(ruled_out);
            }
            Self::Store(StoreError::NotReplicated { jobs }) => problem.job_ids.clone_from(jobs),
            Self::TooMany(exhausted) => problem.violated_policies = vec![exhausted.policy.to_owned()],
            Self::TooManyClasses { .. } => problem.violated_policies = vec!["new-classes".to_owned()],
            Self::EventsLost { first } => problem.next_after = Some(first.saturating_sub(1)),
            Self::ClockSkew { server_time_ms } => problem.server_time_ms = Some(*server_time_ms),
            _ => {}
        }
        problem
    }
}

/// When to come back, in seconds: spread, so that not all come back at once.
pub(crate) fn retry_after() -> HeaderValue {
    HeaderValue::from(1 + jitter::random_below(3))
}

/// A failure on its way out: [`crate::observe`] adds the request's id, logs the cause, and writes the body.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// What the caller is told.
    pub(crate) problem: Problem,
    /// What only the log is told: why the store or the coordinator failed.
    pub(crate) cause: Option<String>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let cause = status.is_server_error().then(|| self.to_string());
        let mut response = status.into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static(r#"Bearer realm="titancompute", error="invalid_token""#);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, retry_after());
        }
        match &self {
            Self::TooManyTickets { retry_after_s, .. } => {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*retry_after_s));
            }
            Self::NoPlace => {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(1));
            }
            _ => {}
        }
        if let Self::TooMany(exhausted) = &self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(exhausted.retry_after_s));
            exhausted.standing.write_to(response.headers_mut());
        }
        if let Self::TooManyClasses { wait } = &self {
            let seconds = u64::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(1).max(1);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(self, Self::BodyTimeout) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.extensions_mut().insert(Failure { problem, cause });
        response
    }
}

/// Bytes of a limit, which are whole KiB.
fn in_units(bytes: u64) -> String {
    if bytes.is_multiple_of(MIB) { format!("{} MiB", bytes / MIB) } else { format!("{} KiB", bytes >> 10) }
}
