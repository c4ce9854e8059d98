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
    jobs::{JobKind, ProcessSpec, Requirements, SubmitJob},
    limits,
    secret::Secret,
};

use crate::failure::Failure;

/// What to run, and what it needs.
#[derive(Debug, Clone, Args)]
pub struct JobOptions {
    /// How many GPUs.
    #[arg(long, default_value_t, value_name = "N", help_heading = "Requirements")]
    pub gpus: u32,
    /// Memory on each of those GPUs: megabytes, or with a unit, for example `16G`.
    #[arg(long, default_value = "0", value_name = "SIZE", value_parser = parse_mb, help_heading = "Requirements")]
    pub vram: u64,
    /// Have those GPUs to itself: nothing else is placed on them.
    #[arg(long, requires = "gpus", help_heading = "Requirements")]
    pub exclusive: bool,
    /// Main memory: megabytes, or with a unit.
    #[arg(long, default_value = "0", value_name = "SIZE", value_parser = parse_mb, help_heading = "Requirements")]
    pub ram: u64,
    /// CPUs, in fractions if need be.
    #[arg(long, default_value_t, value_name = "N", help_heading = "Requirements")]
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
    /// A file with variables, one `NAME=VALUE` a line; empty lines and those that begin with `#` are passed over. What
    /// --env says goes before. May be repeated.
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
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub max_attempts: u32,
    /// End an attempt that runs longer, for example `90s` or `2h`.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    /// Where the program runs on the agent's box; an empty folder of its own by default.
    #[arg(long, value_name = "FOLDER")]
    pub workdir: Option<String>,
    /// A file with text for the program's standard input; `-` reads it from here.
    #[arg(long, value_name = "FILE")]
    pub stdin_file: Option<PathBuf>,
    /// The program and its arguments, as they are: no shell reads them.
    #[arg(last = true, required = true, num_args = 1.., value_name = "PROGRAM ARGS")]
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
        let timeout_ms = self.timeout.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX));
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
            max_attempts: self.max_attempts,
            timeout_ms,
            labels: self.label.into_iter().chain(self.name.map(|name| ("name".to_owned(), name))).collect(),
            allow_unserved: self.allow_unserved,
            ..SubmitJob::default()
        })
    }
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
            let pair =
                parse_pair(line).map_err(|why| Failure::Usage(format!("--env-file {name}, line {number}: {why}")))?;
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

/// A name that a label can hold.
fn parse_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > limits::LABEL_BYTES {
        return Err(format!("must be 1 to {} bytes", limits::LABEL_BYTES));
    }
    Ok(text.to_owned())
}

/// `name=value`.
fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be NAME=VALUE".to_owned()),
    }
}

/// `NAME=value`, or `NAME` for the value that it has in this process, which keeps secrets off the command line.
fn parse_variable(text: &str) -> Result<(String, String), String> {
    if text.contains('=') {
        return parse_pair(text);
    }
    let value = std::env::var(text).map_err(|_| format!("{text} is not set here; say {text}=VALUE"))?;
    Ok((text.to_owned(), value))
}

/// `NAME` for the value that it has in this process: a secret is no part of a command line, which others can see.
fn parse_secret(name: &str) -> Result<(String, String), String> {
    if let Some((name, _)) = name.split_once('=') {
        return Err(format!("takes a name alone: say `export {name}=…` first, in a way that your shell does not keep"));
    }
    parse_variable(name)
}

/// Megabytes: a number, or one with a unit of 1,024 (`M`, `G`, `T`, each also as `GB` or `GiB`).
fn parse_mb(text: &str) -> Result<u64, String> {
    let wrong = || "must be megabytes, or a number with M, G or T, for example 16G".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "M" | "MB" | "MIB" => 1,
        "G" | "GB" | "GIB" => 1_024,
        "T" | "TB" | "TIB" => 1_024 * 1_024,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}
