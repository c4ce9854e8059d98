//! From the command line to a job.

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use titan_api::{
    ids::JobId,
    jobs::{JobKind, OnDisconnect, ProcessSpec, Requirements, SubmitJob},
    limits,
    secret::Secret,
    time::Timestamp,
};

use super::values::{
    IfOneFails, at_most, parse_cpus, parse_mb, parse_name, parse_pair, parse_secret, parse_variable, some_time,
};
use crate::{credential::milliseconds, failure::Failure, render::units};

/// What to run, and what it needs.
#[derive(Debug, Clone, Args)]
pub struct JobOptions {
    /// How many GPUs.
    #[arg(long, default_value_t, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=64), help_heading = "Requirements")]
    pub gpus: u32,
    /// Memory on each of those GPUs: megabytes, or with a unit, for example `16G`.
    #[arg(long, default_value = "0", value_name = "SIZE", value_parser = parse_mb, requires = "gpus", help_heading = "Requirements")]
    pub vram: u64,
    /// Have those GPUs to itself: nothing else is placed on them.
    #[arg(long, requires = "gpus", help_heading = "Requirements")]
    pub exclusive: bool,
    /// Main memory: megabytes, or with a unit.
    #[arg(long, default_value = "0", value_name = "SIZE", value_parser = parse_mb, help_heading = "Requirements")]
    pub ram: u64,
    /// CPUs, in fractions if need be.
    #[arg(long, default_value_t, value_name = "N", value_parser = parse_cpus, allow_negative_numbers = true, help_heading = "Requirements")]
    pub cpus: f64,
    /// A label that the agent must carry. May be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair, help_heading = "Requirements")]
    pub agent_label: Vec<(String, String)>,
    /// Accept the job even if no registered agent could ever run it.
    #[arg(long, help_heading = "Requirements")]
    pub allow_unserved: bool,
    /// What to call the job: its label `name`.
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    pub name: Option<String>,
    /// A variable of the job's environment; without `=VALUE` the value that it has here. May be repeated.
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = parse_variable)]
    pub env: Vec<(String, String)>,
    /// A file with variables, one `NAME=VALUE` a line, each value as it stands, quotes and all; empty lines and those that
    /// begin with `#` are passed over, and so is `export`. What --env says goes before. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// A variable whose value nobody is shown again; it is the one that NAME has here. May be repeated.
    #[arg(long, value_name = "NAME", value_parser = parse_secret)]
    pub secret_env: Vec<(String, String)>,
    /// A label of your own on the job; it decides nothing. May be repeated.
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub label: Vec<(String, String)>,
    /// −1000 to 1000; higher goes first.
    #[arg(long, default_value_t, allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1_000..=1_000))]
    pub priority: i32,
    /// How often the job may be tried.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100), help_heading = "Attempts")]
    pub max_attempts: u32,
    /// How often it may be tried again; one less than --max-attempts.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=99), conflicts_with = "max_attempts", help_heading = "Attempts")]
    pub retries: Option<u32>,
    /// How long to wait before the second attempt, at most an hour; twice as long before each further one, half of it by
    /// chance. Only attempts that the job itself ended badly wait.
    #[arg(long, default_value = "1s", value_name = "DURATION", value_parser = at_most(limits::BACKOFF_MS), help_heading = "Attempts")]
    pub backoff: Duration,
    /// End an attempt that runs longer, for example `90s` or `2h`.
    #[arg(long, value_name = "DURATION", value_parser = some_time(limits::TIMEOUT_MS), help_heading = "Attempts")]
    pub timeout: Option<Duration>,
    /// Let an attempt go on for so long after its agent was last in touch, instead of ending it and starting another.
    #[arg(long, value_name = "DURATION", value_parser = at_most(limits::DISCONNECT_GRACE_MS), help_heading = "Attempts")]
    pub keep_on_disconnect: Option<Duration>,
    /// Start it when this job has ended; the processes of one that was cancelled may still be ending then. May be repeated.
    #[arg(long, value_name = "JOB", help_heading = "When")]
    pub after: Vec<JobId>,
    /// What to do if one of those does not end well.
    #[arg(long, value_enum, default_value_t, requires = "after", value_name = "WHAT", help_heading = "When")]
    pub on_dependency_failure: IfOneFails,
    /// Start it no sooner than then, for example `2026-11-21T06:00:00Z`.
    #[arg(long, value_name = "TIME", help_heading = "When")]
    pub at: Option<Timestamp>,
    /// Start it no sooner than after this time, by the clock of this machine.
    #[arg(long = "in", value_name = "DURATION", allow_hyphen_values = true, value_parser = at_most(limits::DELAY_MS.unsigned_abs()), conflicts_with = "at", help_heading = "When")]
    pub after_time: Option<Duration>,
    /// Where the program runs on the agent's box; an empty folder of its own by default.
    #[arg(long, value_name = "FOLDER")]
    pub workdir: Option<String>,
    /// A file with text for the program's standard input; `-` reads it from here.
    #[arg(long, value_name = "FILE")]
    pub stdin_file: Option<PathBuf>,
    /// The program and its arguments, as they are: no shell reads them.
    #[arg(last = true, required_unless_present = "batch", num_args = 1.., value_name = "PROGRAM ARGS")]
    pub command: Vec<String>,
}

impl JobOptions {
    /// Whether the job's input is read from standard input.
    #[must_use]
    pub fn reads_stdin(&self) -> bool {
        self.stdin_file.as_deref() == Some(Path::new("-"))
    }

    /// The job that the command line describes.
    ///
    /// # Errors
    /// [`Failure`] if the file for standard input, or one with variables, is unusable.
    pub fn into_job(self) -> Result<SubmitJob, Failure> {
        let stdin = self.stdin_file.map(|file| read_stdin(&file)).transpose()?;
        let not_before = self.at.or_else(|| self.after_time.map(from_now));
        Ok(SubmitJob {
            kind: JobKind::Process,
            process: ProcessSpec {
                command: self.command,
                env: variables(&self.env_file, self.env)?,
                secret_env: self.secret_env.into_iter().map(|(name, value)| (name, Secret::new(value))).collect(),
                working_dir: self.workdir,
                stdin,
            },
            requirements: Requirements {
                gpus: self.gpus,
                vram_mb: self.vram,
                ram_mb: self.ram,
                cpus: self.cpus,
                agent_labels: self.agent_label.into_iter().collect::<BTreeMap<_, _>>(),
                exclusive: self.exclusive,
            },
            priority: self.priority,
            max_attempts: self.retries.map_or(self.max_attempts, |retries| retries + 1),
            timeout_ms: self.timeout.map(milliseconds),
            backoff_ms: milliseconds(self.backoff),
            on_disconnect: if self.keep_on_disconnect.is_some() { OnDisconnect::Keep } else { OnDisconnect::Stop },
            disconnect_grace_ms: self.keep_on_disconnect.map(milliseconds).unwrap_or_default(),
            not_before,
            depends_on: self.after.iter().map(ToString::to_string).collect(),
            on_dependency_failure: self.on_dependency_failure.into(),
            labels: self.label.into_iter().chain(self.name.map(|name| ("name".to_owned(), name))).collect(),
            allow_unserved: self.allow_unserved,
            ..SubmitJob::default()
        })
    }
}

fn from_now(time: Duration) -> Timestamp {
    let ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_ms(units::now().as_ms().saturating_add(ms))
}

/// The variables of the files, in their order, and those that were named one by one.
fn variables(files: &[PathBuf], named: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = BTreeMap::new();
    for file in files {
        let name = file.display();
        let text = std::fs::read_to_string(file).with_context(|| format!("--env-file {name} cannot be read"))?;
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim_start().starts_with('#') || line.trim().is_empty() {
                continue;
            }
            // The line itself is not repeated: it may hold a secret.
            let pair = parse_pair(line.strip_prefix("export ").unwrap_or(line)).and_then(|pair| match &pair.0 {
                name if name.contains(char::is_whitespace) => Err("no blank may stand before the `=`".to_owned()),
                _ => Ok(pair),
            });
            let pair = pair.map_err(|why| Failure::Usage(format!("--env-file {name}, line {number}: {why}")))?;
            all.extend([pair]);
        }
    }
    all.extend(named);
    Ok(all)
}

/// Reads text for standard input, but never more than the coordinator takes.
fn read_stdin(file: &std::path::Path) -> Result<String, Failure> {
    let name = file.display();
    let most = limits::STDIN_BYTES as u64 + 1;
    let mut text = String::new();
    let read = match file.to_str() {
        Some("-") => std::io::stdin().lock().take(most).read_to_string(&mut text),
        _ => std::fs::File::open(file).and_then(|file| file.take(most).read_to_string(&mut text)),
    };
    read.with_context(|| format!("--stdin-file {name} cannot be read as UTF-8 text"))?;
    if text.len() > limits::STDIN_BYTES {
        let most_kib = limits::STDIN_BYTES / 1_024;
        return Err(Failure::Usage(format!("--stdin-file {name} is longer than {most_kib} KiB; let the job fetch it")));
    }
    Ok(text)
}
