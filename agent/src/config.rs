//! What an operator sets: flags, the environment variables of the same meaning, a file, and how they are checked.

mod accounts;
mod backends;
mod bounds;
mod checked;
mod file;
mod keys;
mod labels;
mod merge;
mod supervise;
mod token;
mod truth;
pub(crate) mod values;

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

pub(crate) use accounts::{Accounts, JobUser};
pub(crate) use bounds::check as check_bounds;
pub(crate) use checked::Config;
pub(crate) use file::read as read_file;
pub(crate) use keys::Keys;
pub(crate) use supervise::{Supervised, Wanted};
pub(crate) use token::JoinToken;
use truth::Truth;

pub use crate::{backends::Kind, hardware::Accelerator, logging::LogFormat};
pub use backends::BackendArg;
pub use supervise::{LlamaCppArgs, OllamaArgs, RunnerWish, VllmArgs};

/// What becomes of running jobs when the agent is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnStop {
    /// They get time to end; the rest is handed back.
    #[default]
    Drain,
    /// They go on, and the agent's next start takes them over.
    Keep,
}

/// Options of the agent. Each can be given as a flag, as the environment variable named beside it, or in the file that
/// `--config` names; of these the first that gives it counts. In the file it has the flag's name with underscores.
#[derive(Debug, Clone, Default, PartialEq, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunArgs {
    /// A file with settings: TOML, YAML or JSON, by the end of its name. Flags and environment variables go before it.
    #[arg(long, env = "TITAN_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// URL of a coordinator, for example `https://titan.example.org`. May be repeated or be a list with commas; the
    /// agent calls the first and turns to the next when one does not answer.
    #[arg(long = "coordinator", env = "TITAN_COORDINATOR", value_name = "URL", value_delimiter = ',')]
    #[serde(rename = "coordinator", deserialize_with = "values::one_or_many")]
    pub coordinators: Vec<String>,

    /// File that holds the join token; `-` reads it from standard input, and asks for it on a terminal. Needed once: afterwards the agent has a
    /// credential of its own. The environment variable `TITAN_JOIN_TOKEN` may hold the token itself.
    #[arg(long, env = "TITAN_JOIN_TOKEN_FILE", value_name = "FILE")]
    pub join_token_file: Option<PathBuf>,

    /// The id to join under; one is made from the agent's key by default. It is fixed by the first joining.
    #[arg(long, env = "TITAN_NODE_ID", value_name = "ID")]
    pub node_id: Option<String>,

    /// The name of the box to report; what the system says by default.
    #[arg(long, env = "TITAN_HOSTNAME", value_name = "NAME")]
    pub hostname: Option<String>,

    /// Labels that jobs may ask for, for example gpu=a100,zone=attic. May be repeated. In the file a table.
    #[arg(long, env = "TITAN_LABELS", value_name = "NAME=VALUE", value_delimiter = ',')]
    #[serde(deserialize_with = "values::labels")]
    pub labels: Vec<String>,

    /// How many process jobs to run at once, 1 to 64; the number of CPUs by default.
    #[arg(long, env = "TITAN_MAX_JOBS", value_name = "N")]
    pub max_jobs: Option<u32>,

    /// A backend that serves models, as KIND=URL: `ollama`, `vllm`, `llamacpp` or `openai` (anything that speaks OpenAI's
    /// interface) and where it is, for example `ollama=http://127.0.0.1:11434`. May be repeated. In the file a list of
    /// such texts or of tables, which say more.
    #[arg(long = "backend", env = "TITAN_BACKENDS", value_name = "KIND=URL", value_delimiter = ',')]
    #[serde(rename = "backend", deserialize_with = "backends::read")]
    pub backends: Vec<BackendArg>,

    /// Look for backends at their usual ports of this box (Ollama 11434, vLLM 8000, llama.cpp 8080) and serve what is
    /// there. On by default.
    #[arg(long, env = "TITAN_PROBE_BACKENDS", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = Truth)]
    #[serde(deserialize_with = "truth::in_file")]
    pub probe_backends: Option<bool>,

    /// Ollama, if the agent is to start it.
    #[command(flatten)]
    pub ollama: OllamaArgs,

    /// vLLM, if the agent is to start it.
    #[command(flatten)]
    pub vllm: VllmArgs,

    /// The server of llama.cpp, if the agent is to start it.
    #[command(flatten)]
    pub llamacpp: LlamaCppArgs,

    /// Leave the backends that the agent has started running when it stops: its next start takes them over. Off by
    /// default.
    #[arg(long, env = "TITAN_KEEP_BACKENDS", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = Truth)]
    #[serde(deserialize_with = "truth::in_file")]
    pub keep_backends: Option<bool>,

    /// How long a backend that the agent starts may take until it answers, fetching its model included; 30m by default.
    #[arg(long, env = "TITAN_BACKEND_START_TIMEOUT", value_name = "DURATION", value_parser = values::parse_duration)]
    #[serde(deserialize_with = "values::duration")]
    pub backend_start_timeout: Option<Duration>,

    /// The account that backends run as which the agent starts as processes, where it runs as root; its own by default.
    #[arg(long, env = "TITAN_BACKEND_USER", value_name = "NAME")]
    pub backend_user: Option<String>,

    /// A file that holds the token of Hugging Face with which vLLM and llama.cpp may fetch models.
    #[arg(long, env = "TITAN_HF_TOKEN_FILE", value_name = "FILE")]
    pub hf_token_file: Option<PathBuf>,

    /// Where clients with a ticket of the coordinator are answered directly, for example 0.0.0.0:7071. Nowhere by default.
    #[arg(long, env = "TITAN_GATEWAY_LISTEN", value_name = "ADDRESS")]
    pub gateway_listen: Option<std::net::SocketAddr>,

    /// The URL at which clients reach --gateway-listen, for example `https://box.example.org`. Without it nobody is sent
    /// here.
    #[arg(long, env = "TITAN_ADVERTISE_URL", value_name = "URL")]
    pub advertise_url: Option<String>,

    /// What an hour of this box costs, in the currency of the pool; it counts where the pool's weights say so.
    #[arg(long, env = "TITAN_PRICE_PER_HOUR", value_name = "PRICE")]
    pub price_per_hour: Option<f64>,

    /// This box is there for a while only: the pool forgets its agent an hour after it was heard last, not after days. Off by
    /// default.
    #[arg(long, env = "TITAN_EPHEMERAL", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = Truth)]
    #[serde(deserialize_with = "truth::in_file")]
    pub ephemeral: Option<bool>,

    /// Take process jobs: run the programs that the pool's clients submit. Off by default; with --policy on.
    #[arg(long, env = "TITAN_ALLOW_JOBS", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = Truth)]
    #[serde(deserialize_with = "truth::in_file")]
    pub allow_jobs: Option<bool>,

    /// A file that says which programs jobs may run here, as whom, and for how long: TOML, YAML or JSON. With it process
    /// jobs are on, as far as it allows them, and no coordinator can widen it.
    #[arg(long, env = "TITAN_POLICY", value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// The account that jobs run as, where the agent runs as root.
    #[arg(long, env = "TITAN_JOB_USER", value_name = "NAME")]
    pub job_user: Option<String>,

    /// Run jobs as root where the agent runs as root and no --job-user is named: whoever may submit a job then owns
    /// the box. Meant for throw-away machines and demonstrations.
    #[arg(long, env = "TITAN_ALLOW_ROOT_JOBS", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = Truth)]
    #[serde(deserialize_with = "truth::in_file")]
    pub allow_root_jobs: Option<bool>,

    /// MiB of main memory that a job is held to if it asks for none; by default it is held to --max-ram-mb, if to anything.
    /// Like all that jobs are held to, it takes control groups.
    #[arg(long, env = "TITAN_DEFAULT_RAM_MB", value_name = "MIB")]
    pub default_ram_mb: Option<u64>,

    /// MiB of main memory that a job may have; one that asks for more is refused. Without limit by default.
    #[arg(long, env = "TITAN_MAX_RAM_MB", value_name = "MIB")]
    pub max_ram_mb: Option<u64>,

    /// CPUs that a job is held to if it asks for none; by default it is held to --max-cpus, if to anything.
    #[arg(long, env = "TITAN_DEFAULT_CPUS", value_name = "CPUS")]
    pub default_cpus: Option<f64>,

    /// CPUs that a job may have, in fractions if need be; one that asks for more is refused. Without limit by default.
    #[arg(long, env = "TITAN_MAX_CPUS", value_name = "CPUS")]
    pub max_cpus: Option<f64>,

    /// Processes that a job may have at the same time, each thread counted; 16384 by default.
    #[arg(long, env = "TITAN_MAX_PROCESSES", value_name = "N")]
    pub max_processes: Option<u64>,

    /// Where the agent keeps its key, its credential and the logs of jobs (for a week). By default
    /// /var/lib/titan-agent for root, else titan-agent in `XDG_STATE_HOME` or ~/.local/state.
    #[arg(long, env = "TITAN_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Where jobs get their working folders, which are removed when they end; the folder `work` in the state folder
    /// by default.
    #[arg(long, env = "TITAN_WORK_DIR", value_name = "DIR")]
    pub work_dir: Option<PathBuf>,

    /// Take no jobs while the disk with the working folders, or that with the state folder, has less than this free, in
    /// MiB; 512 by default.
    #[arg(long, env = "TITAN_MIN_FREE_DISK_MB", value_name = "MIB")]
    pub min_free_disk_mb: Option<u64>,

    /// NVIDIA's management library, if it is not where the driver usually puts it (libnvidia-ml.so.1).
    #[arg(long, env = "TITAN_NVML_LIBRARY", value_name = "FILE")]
    pub nvml_library: Option<PathBuf>,

    /// Where to answer `/health` and `/metrics`, or `off`; 127.0.0.1:7070 by default. If the port is taken the agent
    /// says so and works without.
    #[arg(long, env = "TITAN_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<String>,

    /// Certificates (PEM) to trust beside the system's, for a coordinator with a certificate of one's own.
    #[arg(long, env = "TITAN_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// Send heartbeats at least this often, for example 5s; the coordinator may want them more often.
    #[arg(long, env = "TITAN_HEARTBEAT_INTERVAL", value_name = "DURATION", value_parser = values::parse_duration)]
    #[serde(deserialize_with = "values::duration")]
    pub heartbeat_interval: Option<Duration>,

    /// How long running jobs may go on after the agent was told to stop, before they are ended and handed back; 30s by
    /// default.
    #[arg(long, env = "TITAN_DRAIN_GRACE", value_name = "DURATION", value_parser = values::parse_duration)]
    #[serde(deserialize_with = "values::duration")]
    pub drain_grace: Option<Duration>,

    /// What becomes of running jobs when the agent is told to stop: `drain` lets them end in time and hands the rest
    /// back (the default); `keep` leaves them running for the agent's next start, which has to come before their leases
    /// end.
    #[arg(long, env = "TITAN_ON_STOP", value_name = "WHAT")]
    pub on_stop: Option<OnStop>,

    /// URL of an OpenTelemetry collector that takes OTLP over HTTP, for example `http://127.0.0.1:4318`: spans of the attempts
    /// of traced jobs are sent there. The variable `OTEL_EXPORTER_OTLP_HEADERS` may hold what it wants to be sent along.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", hide_env_values = true)]
    pub otel_exporter_otlp_endpoint: Option<String>,

    /// How log lines look; text on a terminal, else json.
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// The least important level to log: error, warn, info (the default), debug or trace; or a list such as
    /// `titan_agent=debug,info`.
    #[arg(long, env = "LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// File for log lines, instead of the standard error. At 10 MB it becomes `FILE.1`, and so on up to `FILE.5`; only the
    /// agent's account may read them.
    #[arg(long, env = "LOG_FILE", value_name = "FILE")]
    pub log_file: Option<PathBuf>,

    /// GPUs and the like that the agent cannot find by itself; only in the file.
    #[arg(skip)]
    #[serde(rename = "accelerator")]
    pub accelerators: Vec<Accelerator>,
}
