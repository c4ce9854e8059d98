//! What can go wrong between a wrapper and Redis.

use redis::{ErrorKind, RedisError, ServerErrorKind};
use titan_api::ids::JobId;

/// How a URL of Redis may look.
const URL_FORMS: &str = "redis://HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE or redis+cluster://HOST:PORT,HOST:PORT, \
                         with rediss in front for TLS, and what a password has beside letters and digits as %XX";

/// An operation that did not run, or whose outcome is unknown. Every operation may be repeated with the same arguments.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Redis can't be reached, is loading, busy, read-only or without a quorum.
    #[error("Redis is unavailable: {0}")]
    Unavailable(String),
    /// The URL of Redis cannot be read. Whatever it holds is not shown, since a password may be in it.
    #[error("{}; write {URL_FORMS}", without_kind(.0))]
    Url(String),
    /// The pool's slot is moving between cluster nodes; nothing was changed.
    #[error("the pool is moving between nodes of the Redis cluster: {0}")]
    Moving(String),
    /// Redis has no memory left for new work; nothing was changed.
    #[error("Redis is out of memory: {0}")]
    Full(String),
    /// It came later than it may, or whoever set that time has another clock than Redis; nothing was changed.
    #[error("it came to Redis later than it may")]
    Late {
        /// The clock of Redis then, milliseconds since the epoch.
        now_ms: i64,
    },
    /// It is done, but no replica of Redis had it in time, so a failover may undo it. A repeat waits again.
    #[error("no replica of Redis has it yet")]
    NotReplicated {
        /// The jobs that were accepted.
        jobs: Vec<JobId>,
    },
    /// A key or a reply holds what no version of this program writes.
    #[error("Redis holds something unexpected: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Of something that makes no jobs.
    pub(crate) fn not_replicated() -> Self {
        Self::NotReplicated { jobs: Vec::new() }
    }

    /// The pool holds as many unended jobs as it may.
    pub(crate) fn full_of_jobs() -> Self {
        Self::Full(format!("the pool holds {} jobs that have not ended", titan_api::limits::UNENDED_JOBS))
    }

    /// The pool holds as many bytes of what models are asked as it may, in all or of whom asks.
    pub(crate) fn full_of_prompts(budget_bytes: u64) -> Self {
        Self::Full(format!(
            "the pool may hold {budget_bytes} bytes of what models are asked, half of them from one API key, and there is no \
             room for more"
        ))
    }
}

/// What the library says of a URL, without its own name for that kind of error.
fn without_kind(why: &str) -> &str {
    why.split(" - InvalidClientConfig").next().unwrap_or(why)
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        let text = error.to_string();
        match (error.kind(), error.code()) {
            (ErrorKind::Server(ServerErrorKind::TryAgain | ServerErrorKind::Ask | ServerErrorKind::Moved), _) => {
                Self::Moving(text)
            }
            (_, Some("OOM")) => Self::Full(text),
            (ErrorKind::UnexpectedReturnType | ErrorKind::Parse, _) => Self::Corrupt(text),
            // A script that met a value which it cannot read fails with a plain ERR or WRONGTYPE.
            (ErrorKind::Server(ServerErrorKind::ResponseError), _) | (_, Some("WRONGTYPE")) => {
                if text.contains("OOM ") { Self::Full(text) } else { Self::Corrupt(text) }
            }
            _ if text.contains("UnknownIssuer") => {
                Self::Unavailable(format!("{text}; name the certificate of its authority in SSL_CERT_FILE"))
            }
            _ => Self::Unavailable(text),
        }
    }
}
