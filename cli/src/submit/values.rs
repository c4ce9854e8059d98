//! What people write on the command line, and what it means: pairs, variables, sizes, keys.

use std::time::Duration;

use clap::ValueEnum;
use titan_api::{jobs::OnDependencyFailure, limits};

/// What becomes of a job if one that it comes after does not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum IfOneFails {
    /// It is cancelled.
    #[default]
    Cancel,
    /// It runs all the same.
    Run,
}

impl From<IfOneFails> for OnDependencyFailure {
    fn from(word: IfOneFails) -> Self {
        match word {
            IfOneFails::Cancel => Self::Cancel,
            IfOneFails::Run => Self::Run,
        }
    }
}

/// An `Idempotency-Key` as the interface takes it.
pub(crate) fn parse_idempotency_key(text: &str) -> Result<String, String> {
    let most = limits::IDEMPOTENCY_KEY_BYTES;
    let is_good = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if is_good && text.trim() == text {
        Ok(text.to_owned())
    } else {
        Err(format!("must be 1 to {most} printable ASCII characters"))
    }
}

/// A name that a label can hold.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > limits::LABEL_BYTES {
        return Err(format!("must be 1 to {} bytes", limits::LABEL_BYTES));
    }
    Ok(text.to_owned())
}

/// `name=value`.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be NAME=VALUE".to_owned()),
    }
}

/// `NAME=value`, or `NAME` for the value that it has in this process, which keeps secrets off the command line.
pub(crate) fn parse_variable(text: &str) -> Result<(String, String), String> {
    if text.contains('=') {
        return parse_pair(text);
    }
    from_here(text, &format!("say {text}=VALUE"))
}

/// A variable of this process. `advice`: what to do if there is none, or it is no text.
fn from_here(name: &str, advice: &str) -> Result<(String, String), String> {
    let value = std::env::var(name).map_err(|_| format!("{name} is not set here; {advice}"))?;
    Ok((name.to_owned(), value))
}

/// `NAME` for the value that it has in this process: a secret is no part of a command line, which others can see.
pub(crate) fn parse_secret(name: &str) -> Result<(String, String), String> {
    let advice = |name| format!("say `export {name}=…` first, in a way that your shell does not keep");
    match name.split_once('=') {
        Some((name, _)) => Err(format!("takes a name alone: {}", advice(name))),
        None => from_here(name, &advice(name)),
    }
}

/// A time, or none, which the interface takes.
pub(crate) fn at_most(most_ms: u64) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    move |text| {
        let time = humantime::parse_duration(text).map_err(|why| format!("{why}; write for example 90s or 2h30m"))?;
        let most = Duration::from_millis(most_ms);
        if time > most || (time < Duration::from_millis(1) && !time.is_zero()) {
            return Err(format!("must be from 1ms to {}", in_words(most)));
        }
        Ok(time)
    }
}

/// A bound. Whole days are told as days: a year has some hours more than 365 of them.
fn in_words(time: Duration) -> String {
    let days = time.as_secs() / 86_400;
    if days > 0 && time == Duration::from_secs(days * 86_400) {
        return format!("{days}days");
    }
    humantime::format_duration(time).to_string()
}

/// The same, of 1 ms at least.
pub(crate) fn some_time(most_ms: u64) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    let read = at_most(most_ms);
    move |text| {
        let time = read(text)?;
        if time.is_zero() { Err("must be more than no time".to_owned()) } else { Ok(time) }
    }
}

/// A number of CPUs that an agent can have.
pub(crate) fn parse_cpus(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok();
    number
        .filter(|number| (0.0..=limits::CPUS).contains(number))
        .ok_or_else(|| format!("must be a number from 0 to {}", limits::CPUS))
}

/// Megabytes: a number, or one with a unit of 1,024 (`M`, `G`, `T`, each also as `GB` or `GiB`).
pub(crate) fn parse_mb(text: &str) -> Result<u64, String> {
    let wrong = || "must be megabytes, or a whole number with M, G or T, for example 16G or 1536M".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "M" | "MB" | "MIB" => 1,
        "G" | "GB" | "GIB" => 1_024,
        "T" | "TB" | "TIB" => 1_024 * 1_024,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number
        .checked_mul(factor)
        .filter(|mb| *mb <= limits::MEMORY_MB)
        .ok_or_else(|| format!("must be at most {}T", limits::MEMORY_MB / 1_024 / 1_024))
}
