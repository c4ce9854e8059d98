//! Settings: read once from flags and environment, checked as a whole, passed down.

mod check;
mod number;
mod quota;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use http::HeaderValue;
use titan_api::{credentials::KeyLimits, secret::Secret};
use titan_lua::{PoolSettings, StoreOptions};

use self::number::{bytes, count, part};
pub use self::{check::ConfigError, quota::QuotaSetting};
use crate::auth::{admin::AdminToken, keys::KeyRing};

/// How a coordinator is set up. The secrets `ADMIN_TOKEN` and `SIGNING_KEY` come from the environment or from files,
/// never from flags, since every user of a machine can read the flags of a process.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = SECRETS_HELP)]
pub struct RunArgs {
    /// Redis: `redis://`, `redis+sentinel://host:port,host:port/service`, or `redis+cluster://host:port,host:port`, each
    /// with TLS as `rediss…`; with a password only from the environment or a file [default: `redis://127.0.0.1:6379`]
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_parser = clap::value_parser!(Secret))]
    pub redis_url: Option<Secret>,

    /// File with the URL of Redis, instead of `REDIS_URL`
    #[arg(long, env = "REDIS_URL_FILE")]
    pub redis_url_file: Option<PathBuf>,

    /// Port to listen on; 0 takes any free one
    #[arg(long, alias = "port", env = "COORDINATOR_HTTP_PORT", default_value_t = 8080)]
    pub coordinator_http_port: u16,

    /// Address to listen on; 127.0.0.1 keeps the coordinator to this machine
    #[arg(long, alias = "bind", env = "COORDINATOR_HTTP_BIND", default_value = "0.0.0.0")]
    pub coordinator_http_bind: IpAddr,

    /// Address and port on which `/metrics` is served to everybody, with the figures of all pools, for example
    /// `127.0.0.1:9090`; without it only `/metrics` of the usual port, for a key with the scope `metrics:read`
    #[arg(long, env = "METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,

    /// File to write the bound address to (one line, `address:port`), once the coordinator listens
    #[arg(long, env = "PORT_FILE")]
    pub port_file: Option<PathBuf>,

    /// How often agents are heard; at most a quarter of `LEASE_TTL`
    #[arg(long, env = "HEARTBEAT_INTERVAL", default_value = "10s", value_parser = duration)]
    pub heartbeat_interval: Duration,

    /// How much later than announced a heartbeat may be; at least twice the interval
    #[arg(long, env = "HEARTBEAT_TIMEOUT", default_value = "30s", value_parser = duration)]
    pub heartbeat_timeout: Duration,

    /// How long an agent's right to an attempt lasts unless it is renewed
    #[arg(long, env = "LEASE_TTL", default_value = "60s", value_parser = duration)]
    pub lease_ttl: Duration,

    /// How long an attempt's processes get between SIGTERM and SIGKILL
    #[arg(long, env = "KILL_GRACE", default_value = "10s", value_parser = duration)]
    pub kill_grace: Duration,

    /// How long a ticket for a model is good, 10s to 1h
    #[arg(long, env = "TOKEN_TTL", default_value = "300s", value_parser = duration)]
    pub token_ttl: Duration,

    /// How long an offline agent is remembered
    #[arg(long, env = "AGENT_RETENTION", default_value = "7d", value_parser = duration)]
    pub agent_retention: Duration,

    /// How long an ended job is remembered
    #[arg(long, env = "JOB_RETENTION", default_value = "24h", value_parser = duration)]
    pub job_retention: Duration,

    /// How many ended jobs of a pool are remembered; the oldest go first
    #[arg(long, env = "JOB_RETENTION_MAX", default_value_t = 100_000, value_parser = count(1..=10_000_000))]
    pub job_retention_max: u64,

    /// Bytes of output that a pool keeps; of ended jobs the oldest output goes first, and the jobs stay
    #[arg(long, env = "OUTPUT_BUDGET", default_value_t = 1 << 30, value_parser = bytes(1))]
    pub output_budget: u64,

    /// Bytes of what models are asked that a pool holds until 1 minute after the answer, or 10 where nobody waits for it; past
    /// half of it they go with the end of the answer, and past all of it requests are refused, or past half of it those of the
    /// same API key
    #[arg(long, env = "PROMPT_BUDGET", default_value_t = 1 << 29, value_parser = bytes(16))]
    pub prompt_budget: u64,

    /// How often this copy settles what is overdue in all pools
    #[arg(long, env = "CLEANUP_INTERVAL", default_value = "60s", value_parser = duration)]
    pub cleanup_interval: Duration,

    /// How long an answer of Redis may take, at most 1 minute; by then a request gets 503
    #[arg(long, env = "REDIS_TIMEOUT", default_value = "700ms", value_parser = duration)]
    pub redis_timeout: Duration,

    /// What an acknowledgement of work waits for: that Redis has it, or that a replica has it too (within the time of
    /// `REDIS_TIMEOUT`, else the answer is 503 `not-replicated`)
    #[arg(long, env = "DURABILITY", default_value = "local")]
    pub durability: DurabilityWord,

    /// Whether agents hold a request open until there is work: `on` by default, and `off` on Cloud Run, where a held request costs
    /// money and keeps a copy alive
    #[arg(long, env = "PARKING")]
    pub parking: Option<Parking>,

    /// With `PARKING=off`: the longest that an agent of an idle pool waits between two calls, milliseconds
    #[arg(long, env = "IDLE_POLL_MS", default_value_t = 30_000, value_parser = count(1_000..=3_600_000))]
    pub idle_poll_ms: u64,

    /// File with the administrator's token, instead of `ADMIN_TOKEN`
    #[arg(long, env = "ADMIN_TOKEN_FILE")]
    pub admin_token_file: Option<PathBuf>,

    /// File with the signing keys, instead of `SIGNING_KEY`
    #[arg(long, env = "SIGNING_KEY_FILE")]
    pub signing_key_file: Option<PathBuf>,

    /// Requests that an API key may make in a time, if it was made without a limit of its own: `60000/1m`, or `off`
    #[arg(long, env = "RATE_LIMIT_REQUESTS", default_value = "60000/1m")]
    pub rate_limit_requests: QuotaSetting,

    /// Bytes that an API key may send in bodies in a time, if it was made without a limit of its own: `256MiB/1m`, or
    /// `off`
    #[arg(long, env = "RATE_LIMIT_BYTES", default_value = "256MiB/1m")]
    pub rate_limit_bytes: QuotaSetting,

    /// Requests that this copy works on at once, waiting ones not counted; past half of it lists are refused with 503,
    /// then submissions, claims and heartbeats, and reports of agents last
    #[arg(long, env = "CONCURRENCY_LIMIT", default_value_t = 2_048, value_parser = count(16..=100_000))]
    pub concurrency_limit: u64,

    /// Origins whose web pages may call the coordinator, separated by commas; `*` for all
    #[arg(long, env = "CORS_ALLOWED_ORIGINS", value_delimiter = ',')]
    pub cors_allowed_origins: Vec<String>,

    /// URL of an OpenTelemetry collector that takes OTLP over HTTP, for example `http://127.0.0.1:4318`; spans of requests
    /// are sent there
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true)]
    pub otel_exporter_otlp_endpoint: Option<String>,

    /// The part of requests without a `traceparent` for which a trace is begun, 0 to 1; whoever sends one decides by its flag
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", default_value_t = 1.0, value_parser = part)]
    pub otel_traces_sampler_arg: f64,

    /// How log lines look
    #[arg(long, env = "LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,

    /// File for log lines, instead of the standard output: a file of its own for each copy. At 10 MiB it is renamed to
    /// `FILE.1`, and the last five are kept
    #[arg(long, env = "LOG_FILE")]
    pub log_file: Option<PathBuf>,

    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,titan_lua=debug`
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
}

const SECRETS_HELP: &str = "\
Secrets (from the environment or a file, never a flag):
  ADMIN_TOKEN  the administrator's token, at least 16 characters
  SIGNING_KEY  PEM blocks of the signing keys; `titan coordinator keygen` makes some
  OTEL_EXPORTER_OTLP_HEADERS  what a collector wants to be sent along: name=value,other=value";

/// What an acknowledgement of work waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DurabilityWord {
    /// Redis has it.
    Local,
    /// A replica has it too.
    Replicated,
}

/// Whether agents hold a request open until there is work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Parking {
    /// They do.
    On,
    /// They poll.
    Off,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Settings that fit together; made by [`RunArgs::check`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// Redis.
    pub redis_url: Secret,
    /// How long an answer of it may take, and what acknowledgements wait for.
    pub store: StoreOptions,
    /// What scripts need.
    pub pool: PoolSettings,
    /// How often agents that park are told to heartbeat, milliseconds.
    pub heartbeat_interval_ms: u64,
    /// Whether agents hold a request open until there is work.
    pub parking: bool,
    /// The longest pause between two calls of an agent where nobody parks, milliseconds.
    pub idle_poll_ms: u64,
    /// How often what is overdue gets settled.
    pub cleanup_interval: Duration,
    /// The administrator's token.
    pub admin: AdminToken,
    /// The signing keys.
    pub keys: KeyRing,
    /// How long a ticket for a model is good, seconds.
    pub ticket_ttl_s: i64,
    /// What an API key without limits of its own may do in a time.
    pub key_limits: KeyLimits,
    /// Requests that are worked on at once.
    pub concurrency_limit: usize,
    /// Where spans are sent, if anywhere.
    pub tracing: Option<titan_telemetry::Settings>,
    /// Origins whose web pages may call.
    pub cors_allowed_origins: Vec<HeaderValue>,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; write a number and a unit, for example 30s or 7d"))
}
