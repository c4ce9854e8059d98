//! The names of our own headers, in lower case.

/// The pool that a call of the administrator is about.
pub const POOL: &str = "x-titan-pool";
/// How long to wait for an agent that can answer, milliseconds.
pub const DEADLINE_MS: &str = "x-titan-deadline-ms";
/// How long a backend may take to its first byte, milliseconds.
pub const FIRST_TOKEN_MS: &str = "x-titan-first-token-ms";
/// How long it may be silent after that, milliseconds.
pub const TOKEN_MS: &str = "x-titan-token-ms";
/// How long an answer that is not streamed may take, milliseconds.
pub const ANSWER_MS: &str = "x-titan-answer-ms";
/// The conversation that a request belongs to.
pub const SESSION: &str = "x-titan-session";
/// What becomes of an answer that breaks off.
pub const FAILOVER: &str = "x-titan-failover";

/// Who answered.
pub const AGENT: &str = "x-titan-agent";
/// In which attempt.
pub const ATTEMPT: &str = "x-titan-attempt";
/// Where in line the request is.
pub const QUEUE_PLACE: &str = "x-titan-queue-place";
/// How long about, milliseconds.
pub const QUEUE_ESTIMATE_MS: &str = "x-titan-queue-estimate-ms";
/// What an agent has signed of an answer that it gave directly.
pub const RECEIPT: &str = "x-titan-receipt";

/// The lease of the attempt whose output is uploaded.
pub const LEASE: &str = "x-titan-lease";
/// Bytes of its output that were sent before.
pub const OFFSET: &str = "x-titan-offset";
