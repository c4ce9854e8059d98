//! Bounds on everything that comes in. A value past one of these is refused before Redis hears of it.

/// Entries in one `command`, the program included.
pub const COMMAND_ARGS: usize = 1_024;
/// Bytes of one `command`, all entries together.
pub const COMMAND_BYTES: usize = 64 * 1_024;
/// Variables in one `env`.
pub const ENV_VARS: usize = 256;
/// Bytes of one `env`, names and values together.
pub const ENV_BYTES: usize = 64 * 1_024;
/// Bytes of one `stdin`.
pub const STDIN_BYTES: usize = 64 * 1_024;
/// Labels on one job or agent.
pub const LABELS: usize = 64;
/// Bytes of one label's name, and of its value.
pub const LABEL_BYTES: usize = 128;
/// GPUs of one agent, and of one job's requirements.
pub const GPUS: usize = 64;
/// Models of one agent.
pub const MODELS: usize = 256;
/// Requests that a model may serve at once, and that one claim may ask for.
pub const REQUESTS: u32 = 256;
/// Models that one agent may pull at once.
pub const PULLS: u32 = 16;
/// Bytes of a model's name.
pub const MODEL_BYTES: usize = 256;
/// Bytes of a request to a model: pictures may be in it.
pub const PROMPT_BYTES: usize = 8 * 1_024 * 1_024;
/// Bytes of an answer of a model; all of it is kept until it is forgotten. `lua/scripts/lib/segment.lua` has the same.
pub const ANSWER_BYTES: usize = 32 * 1_024 * 1_024;
/// Bytes of one event of an answer that is streamed.
pub const ANSWER_EVENT_BYTES: usize = 1_024 * 1_024;
/// Bytes of an answer that is not streamed, which an agent holds in memory as a whole.
pub const DOCUMENT_BYTES: usize = 8 * 1_024 * 1_024;
/// Tokens, or milliseconds, that a request can have taken; what is more nobody believes.
pub const USAGE: u64 = 1_000_000_000;
/// Bytes of a receipt: a JWT that names a request and a model.
pub const RECEIPT_BYTES: usize = 2 * 1_024;
/// Public names of models, and names that one of them may stand for.
pub const ALIASES: usize = 64;
/// Longest time-out of a request to a model, milliseconds: 30 minutes.
pub const INFERENCE_TIMEOUT_MS: u64 = 30 * 60 * 1_000;
/// Megabytes of memory (of a device or a box) that are believed: 16 TiB.
pub const MEMORY_MB: u64 = 16 * 1_024 * 1_024;
/// CPUs that are believed.
pub const CPUS: f64 = 4_096.0;
/// Jobs that one agent may run at once.
pub const MAX_JOBS: u32 = 64;
/// Jobs of a pool that have not ended; past that, submissions are refused.
pub const UNENDED_JOBS: u64 = 200_000;
/// Kinds of jobs new to a pool (by agent labels, number of GPUs and whether they share them) that an API key may submit in a
/// window: each costs a look at every agent.
pub const NEW_CLASSES: u32 = 64;
/// That window, milliseconds.
pub const NEW_CLASSES_WINDOW_MS: u64 = 60_000;
/// Lowest and highest priority; higher goes first.
pub const PRIORITY: std::ops::RangeInclusive<i32> = -1_000..=1_000;
/// Attempts that a job may be given.
pub const MAX_ATTEMPTS: std::ops::RangeInclusive<u32> = 1..=100;
/// Longest `timeout_ms`: 30 days.
pub const TIMEOUT_MS: u64 = 30 * 24 * 3_600 * 1_000;
/// Longest `backoff_ms`: an hour.
pub const BACKOFF_MS: u64 = 3_600 * 1_000;
/// Longest `disconnect_grace_ms`: 7 days.
pub const DISCONNECT_GRACE_MS: u64 = 7 * 24 * 3_600 * 1_000;
/// How far ahead `not_before` may be: 366 days.
pub const DELAY_MS: i64 = 366 * 24 * 3_600 * 1_000;
/// Jobs that one job may depend on.
pub const DEPENDENCIES: usize = 100;
/// Jobs in one batch.
pub const BATCH: usize = 1_000;
/// Bytes of the body of a batch.
pub const BATCH_BODY_BYTES: usize = 8 * 1_024 * 1_024;
/// Bytes of an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_BYTES: usize = 255;
/// Bytes of a job's result.
pub const RESULT_BYTES: usize = 64 * 1_024;
/// Longest wait of a claim, milliseconds.
pub const CLAIM_WAIT_MS: u64 = 20_000;
/// Longest `wait_ms` of a read, milliseconds.
pub const READ_WAIT_MS: u64 = 20_000;
/// Entries in one page of a list.
pub const PAGE: u32 = 500;
/// Reports in one call.
pub const REPORTS: usize = 256;
/// Bytes of output in one chunk, decoded.
pub const OUTPUT_CHUNK_BYTES: usize = 64 * 1_024;
/// Bytes of an event's payload, as JSON without spaces.
pub const EVENT_BYTES: usize = 4 * 1_024;
/// Hindrances that an agent may tell of at once.
pub const HINDRANCES: usize = 8;
/// Bytes of what one of them says.
pub const HINDRANCE_BYTES: usize = 256;
/// Leases that a heartbeat may list.
pub const LEASES: usize = 256;
/// How much of something an API key may be allowed in a window.
pub const QUOTA: std::ops::RangeInclusive<u64> = 1..=1_000_000_000_000;
/// The window, milliseconds: 1 second to 1 day.
pub const QUOTA_WINDOW_MS: std::ops::RangeInclusive<u64> = 1_000..=24 * 3_600 * 1_000;
/// Life of an API key that has an end, milliseconds: at most 10 years.
pub const KEY_LIFE_MS: std::ops::RangeInclusive<u64> = 1..=10 * 365 * 24 * 3_600 * 1_000;
/// Life of a join token, milliseconds: at most 30 days.
pub const JOIN_LIFE_MS: std::ops::RangeInclusive<u64> = 1..=30 * 24 * 3_600 * 1_000;
/// Bytes of a text that explains something (`message`, `name`).
pub const TEXT_BYTES: usize = 1_024;
/// Bytes of a job's command in a list of jobs; short, so that a job's record stays compact.
pub const TITLE_BYTES: usize = 60;
/// Bytes of a request's body on routes that name no other bound.
pub const BODY_BYTES: usize = 64 * 1_024;
/// Bytes of the body of `POST /api/v1/jobs`, of a registration, and of a claim.
pub const LONG_BODY_BYTES: usize = 256 * 1_024;
/// Bytes of the body of a heartbeat or a report, which may carry output. An agent splits what would be longer; one full
/// chunk of output fits however its bytes have to be escaped.
pub const REPORT_BODY_BYTES: usize = 4 * 1_024 * 1_024;

/// The most that an hour of a box may cost.
pub const PRICE_PER_HOUR: f64 = 1_000_000.0;
