//! What an operator sets: flags, the environment variables of the same meaning, and how they are checked.

mod checked;
mod labels;
mod token;

use std::{path::PathBuf, time::Duration};

pub(crate) use checked::{Config, JobUser};
pub(crate) use token::JoinToken;

pub use crate::logging::LogFormat;

/// Options of the agent. Each can be given as a flag or as the environment variable named beside it.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RunArgs {
    /// URL of a coordinator, for example `https://titan.example.org`. May be repeated or be a list with commas; the
    /// agent calls the first and turns to the next when one does not answer.
    #[arg(long = "coordinator", env = "TITAN_COORDINATOR", value_name = "URL", value_delimiter = ',')]
    pub coordinators: Vec<String>,

    /// File that holds the join token; `-` reads it from standard input. Needed once: afterwards the agent has a
    /// credential of its own. The environment variable `TITAN_JOIN_TOKEN` may hold the token itself.
    #[arg(long, env = "TITAN_JOIN_TOKEN_FILE", value_name = "FILE")]
    pub join_token_file: Option<PathBuf>,

    /// The id to join under; one is made from the agent's key by default. It is fixed by the first joining.
    #[arg(long, env = "TITAN_NODE_ID", value_name = "ID")]
    pub node_id: Option<String>,

    /// The name of the box to report; what the system says by default.
    #[arg(long, env = "TITAN_HOSTNAME", value_name = "NAME")]
    pub hostname: Option<String>,

    /// Labels that jobs may ask for, for example gpu=a100,zone=attic. May be repeated.
    #[arg(long, env = "TITAN_LABELS", value_name = "NAME=VALUE", value_delimiter = ',')]
    pub labels: Vec<String>,

    /// How many process jobs to run at once, 1 to 64; the number of CPUs by default.
    #[arg(long, env = "TITAN_MAX_JOBS", value_name = "N")]
    pub max_jobs: Option<u32>,

    /// Take process jobs: run the programs that the pool's clients submit. Off by default.
    #[arg(long, env = "TITAN_ALLOW_JOBS")]
    pub allow_jobs: bool,

    /// The account that jobs run as, where the agent runs as root.
    #[arg(long, env = "TITAN_JOB_USER", value_name = "NAME")]
    pub job_user: Option<String>,

    /// Run jobs as root where the agent runs as root and no --job-user is named: whoever may submit a job then owns
    /// the box. Meant for throw-away machines and demonstrations.
    #[arg(long, env = "TITAN_ALLOW_ROOT_JOBS")]
    pub allow_root_jobs: bool,

    /// Where the agent keeps its key, its credential and the logs of jobs (for a week). By default
    /// /var/lib/titan-agent for root, else titan-agent in `XDG_STATE_HOME` or ~/.local/state.
    #[arg(long, env = "TITAN_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Where jobs get their working folders, which are removed when they end; the folder `work` in the state folder
    /// by default.
    #[arg(long, env = "TITAN_WORK_DIR", value_name = "DIR")]
    pub work_dir: Option<PathBuf>,

    /// Take no jobs while the disk with the working folders, or that with the state folder, has less than this free, in
    /// MiB.
    #[arg(long, env = "TITAN_MIN_FREE_DISK_MB", value_name = "MIB", default_value_t = 512)]
    pub min_free_disk_mb: u64,

    /// NVIDIA's management library, if it is not where the driver usually puts it (libnvidia-ml.so.1).
    #[arg(long, env = "TITAN_NVML_LIBRARY", value_name = "FILE")]
    pub nvml_library: Option<PathBuf>,

    /// Certificates (PEM) to trust beside the system's, for a coordinator with a certificate of one's own.
    #[arg(long, env = "TITAN_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// Send heartbeats at least this often, for example 5s; the coordinator may want them more often.
    #[arg(long, env = "TITAN_HEARTBEAT_INTERVAL", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub heartbeat_interval: Option<Duration>,

    /// How long running jobs may go on after the agent was told to stop, before they are ended and handed back.
    #[arg(long, env = "TITAN_DRAIN_GRACE", value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "30s")]
    pub drain_grace: Duration,

    /// How log lines look; text on a terminal, else json.
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// The least important level to log: error, warn, info, debug or trace; or a list such as `titan_agent=debug,info`.
    #[arg(long, env = "LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}
