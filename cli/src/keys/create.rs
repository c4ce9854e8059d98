//! `titan keys create`: makes an API key. Standard output gets the key alone, and standard error what it is.

use std::{path::PathBuf, time::Duration};

use clap::{Args, builder::NonEmptyStringValueParser};
use titan_api::{
    credentials::{ApiKey, CreateKey, KeyLimits, Quota, Scope},
    limits,
};

use crate::{
    credential::{self, Shown, expiry},
    failure::Failure,
    render::{clean, units},
    session::Session,
};

/// Arguments of `titan keys create`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Scopes:
  jobs:write    submit and cancel jobs
  jobs:read     read jobs and their output
  agents:read   see agents, their names and the pool's status
  agents:write  drain, resume and remove agents
  metrics:read  read /metrics
  events:read   read the pool's events, in which agents and jobs are named
  events:write  publish events
  inference     ask models, and see which there are

Examples:
  titan keys create ci --scope jobs:write,jobs:read --expires 90d > key.txt
  titan keys create me --scope jobs:write,jobs:read,agents:read --out me.key")]
pub struct Options {
    /// What it is for, in your words.
    #[arg(value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub name: String,
    /// What it may do. May be repeated, or be a list with commas.
    #[arg(long, value_name = "SCOPE", required = true, value_delimiter = ',', value_parser = parse_scope)]
    pub scope: Vec<Scope>,
    /// How long it is good for, for example `12h` or `90d`; for ever without it.
    #[arg(long, value_name = "DURATION", value_parser = expiry(MOST, "10 years"))]
    pub expires: Option<Duration>,
    /// How many requests it may make in a time, for example `600/1m`; as the coordinator is set without it.
    #[arg(long, value_name = "N/DURATION", value_parser = parse_quota)]
    pub requests: Option<Quota>,
    /// How many bytes it may send in a time, for example `10000000/1h`; as the coordinator is set without it.
    #[arg(long, value_name = "N/DURATION", value_parser = parse_quota)]
    pub body_bytes: Option<Quota>,
    /// Write the key into this new file, readable by you alone, instead of showing it.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

const MOST: Duration = Duration::from_millis(*limits::KEY_LIFE_MS.end());

fn parse_scope(word: &str) -> Result<Scope, String> {
    let words = || Scope::ALL.map(Scope::as_str).join(", ");
    Scope::from_word(word).ok_or_else(|| format!("must be one of {}", words()))
}

/// So much in so long a time.
fn parse_quota(text: &str) -> Result<Quota, String> {
    let parsed = text.split_once('/').and_then(|(quota, window)| {
        let window = humantime::parse_duration(window).ok()?;
        Some(Quota { quota: quota.parse().ok()?, window_ms: credential::milliseconds(window) })
    });
    let parsed = parsed.ok_or("must be a number and a time, for example 600/1m")?;
    if !limits::QUOTA.contains(&parsed.quota) || !limits::QUOTA_WINDOW_MS.contains(&parsed.window_ms) {
        return Err("must be at least 1, in a time of 1s to 1day".to_owned());
    }
    Ok(parsed)
}

/// Makes a key.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: Options) -> Result<(), Failure> {
    let shown = Shown::prepare(session, options.out)?;
    let wanted = CreateKey {
        name: options.name,
        scopes: options.scope,
        expires_in_ms: options.expires.map(credential::milliseconds),
        limits: KeyLimits { requests: options.requests, body_bytes: options.body_bytes },
    };
    let created = session.client.create_key(&wanted).await.map_err(session.failed("make the API key"))?;
    session.remark(&format!("{} {}", about(&created.record), shown.announced()));
    shown.show(session, &created.key, &created)
}

fn about(key: &ApiKey) -> String {
    let word = if key.scopes.len() == 1 { "scope" } else { "scopes" };
    let scopes = scopes(&key.scopes);
    let until = match key.expires_at {
        Some(at) => format!("until {at} ({})", units::left(at, key.created_at)),
        None => "until it is revoked".to_owned(),
    };
    format!("API key {} ({}) for pool {}, with the {word} {scopes}, good {until}.", key.id, clean(&key.name), key.pool)
}

/// Scopes as a list of words.
pub(super) fn scopes(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ")
}
