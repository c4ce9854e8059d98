//! Whether settings fit together, and where the secrets come from.

use std::{fs, path::Path, time::Duration};

use http::HeaderValue;
use titan_api::{credentials::KeyLimits, secret::Secret};
use titan_lua::{Durability, PoolSettings, StoreOptions};

use super::{DurabilityWord, Parking, RunArgs, Settings};
use crate::auth::{
    admin::AdminToken,
    keys::{KeyError, KeyRing},
};

/// Where bound jobs that nobody claimed go elsewhere, while agents park.
const CLAIM_TIMEOUT_MS: u64 = 5_000;
/// What Cloud Run sets, to the name of the service.
const CLOUD_RUN: &str = "K_SERVICE";
/// Where Redis is if nobody says.
const USUAL_REDIS: &str = "redis://127.0.0.1:6379";
/// Shortest duration that any setting may have.
const SHORTEST: Duration = Duration::from_millis(50);
/// Longest time to wait for Redis: whoever calls waits no longer.
const LONGEST_REDIS_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a ticket may be good.
const SHORTEST_TICKET: Duration = Duration::from_secs(10);
const LONGEST_TICKET: Duration = Duration::from_hours(1);
/// Longest duration that any setting may have: 10 years.
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

/// A setting that is missing or does not fit; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no administrator's token.
    #[error(
        "ADMIN_TOKEN is missing: set it (for example to the output of `openssl rand -hex 32`), or ADMIN_TOKEN_FILE"
    )]
    NoAdminToken,
    /// The administrator's token is too short to be secret.
    #[error("ADMIN_TOKEN has {0} characters and needs 16 or more: use the output of `openssl rand -hex 32`")]
    ShortAdminToken(usize),
    /// The administrator's token can't be sent in a header.
    #[error("ADMIN_TOKEN may only hold visible ASCII characters, since it is sent in a header")]
    UnsendableAdminToken,
    /// There are no signing keys.
    #[error(
        "SIGNING_KEY is missing: run `titan coordinator keygen` once, keep what it prints, and set SIGNING_KEY or SIGNING_KEY_FILE to it"
    )]
    NoSigningKey,
    /// The signing keys can't be used.
    #[error("SIGNING_KEY cannot be used: {0}")]
    SigningKey(KeyError),
    /// A file with a secret can't be read.
    #[error("{setting} names {path}, which cannot be read: {cause}")]
    UnreadableFile {
        /// The setting.
        setting: &'static str,
        /// The path.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// Both the secret and the file that should hold it are set.
    #[error("{0} and {0}_FILE are both set: unset one of them")]
    Twice(&'static str),
    /// A duration that makes no sense.
    #[error("{setting} is {value}: it must be between 50ms and 10 years")]
    Duration {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: humantime::FormattedDuration,
    },
    /// The interval is too long for the timeout.
    #[error(
        "HEARTBEAT_INTERVAL ({interval}) must be at most half of HEARTBEAT_TIMEOUT ({timeout}), so that one lost heartbeat makes nobody look dead"
    )]
    Heartbeat {
        /// The interval.
        interval: humantime::FormattedDuration,
        /// The timeout.
        timeout: humantime::FormattedDuration,
    },
    /// The interval is too long for leases.
    #[error(
        "HEARTBEAT_INTERVAL ({interval}) must be at most a quarter of LEASE_TTL ({lease}), so that a lost heartbeat ends nobody's attempts"
    )]
    HeartbeatLease {
        /// The interval.
        interval: humantime::FormattedDuration,
        /// How long a lease lasts.
        lease: humantime::FormattedDuration,
    },
    /// The URL of Redis holds a password and came as a flag.
    #[error(
        "--redis-url holds a password, which every user of this machine can read there: set REDIS_URL in the environment, or REDIS_URL_FILE"
    )]
    PasswordInFlag,
    /// The time for an answer of Redis is out of bounds.
    #[error("REDIS_TIMEOUT is {0}: it must be between 50ms and 1m")]
    RedisTimeout(humantime::FormattedDuration),
    /// The life of a ticket is out of bounds.
    #[error("TOKEN_TTL is {0}: it must be between 10s and 1h")]
    TokenTtl(humantime::FormattedDuration),
    /// Spans can't be sent as it says.
    #[error(transparent)]
    Tracing(titan_telemetry::WrongSetting),
    /// An origin that no browser sends.
    #[error("CORS_ALLOWED_ORIGINS holds {0:?}: write origins such as https://example.org, without a path, or * alone")]
    Origin(String),
}

impl RunArgs {
    /// Checks the settings as a whole. `environment` looks up `ADMIN_TOKEN`, `SIGNING_KEY` and `REDIS_URL`, and what Cloud Run
    /// sets.
    ///
    /// # Errors
    /// [`ConfigError`] says what is wrong and what to do.
    pub fn check(&self, environment: impl Fn(&str) -> Option<String>) -> Result<Settings, ConfigError> {
        self.check_durations()?;
        let admin = read_secret("ADMIN_TOKEN", &environment, self.admin_token_file.as_deref())?
            .ok_or(ConfigError::NoAdminToken)?;
        let admin = admin_token(&admin)?;
        let keys = read_secret("SIGNING_KEY", &environment, self.signing_key_file.as_deref())?
            .ok_or(ConfigError::NoSigningKey)?;
        let is_on_cloud_run = environment(CLOUD_RUN).is_some();
        let parking = self.parking.unwrap_or(if is_on_cloud_run { Parking::Off } else { Parking::On });
        Ok(Settings {
            redis_url: self.redis_url(&environment)?,
            store: StoreOptions { response_timeout: self.redis_timeout, durability: self.durability.into() },
            pool: self.pool_settings(parking),
            heartbeat_interval_ms: ms(self.heartbeat_interval),
            parking: parking == Parking::On,
            idle_poll_ms: self.idle_poll_ms,
            cleanup_interval: self.cleanup_interval,
            admin,
            keys: KeyRing::from_pem(keys.reveal()).map_err(ConfigError::SigningKey)?,
            ticket_ttl_s: i64::try_from(self.token_ttl.as_secs()).unwrap_or(i64::MAX),
            key_limits: KeyLimits { requests: self.rate_limit_requests.0, body_bytes: self.rate_limit_bytes.0 },
            concurrency_limit: usize::try_from(self.concurrency_limit).unwrap_or(usize::MAX),
            tracing: self.tracing(&environment)?,
            cors_allowed_origins: self.origins()?,
        })
    }

    fn tracing(
        &self,
        environment: &impl Fn(&str) -> Option<String>,
    ) -> Result<Option<titan_telemetry::Settings>, ConfigError> {
        let endpoint = self.otel_exporter_otlp_endpoint.as_deref().filter(|url| !url.trim().is_empty());
        let Some(endpoint) = endpoint else { return Ok(None) };
        let headers = environment("OTEL_EXPORTER_OTLP_HEADERS");
        let settings = titan_telemetry::Settings::new(endpoint, headers.as_deref(), self.otel_traces_sampler_arg);
        settings.map(Some).map_err(ConfigError::Tracing)
    }

    fn redis_url(&self, environment: &impl Fn(&str) -> Option<String>) -> Result<Secret, ConfigError> {
        let given = self.redis_url.as_ref().filter(|url| !url.reveal().trim().is_empty());
        match (given, self.redis_url_file.as_deref()) {
            (Some(_), Some(_)) => Err(ConfigError::Twice("REDIS_URL")),
            (None, None) => Ok(Secret::new(USUAL_REDIS)),
            (None, Some(path)) => read_file("REDIS_URL_FILE", path).map(|text| Secret::new(text.reveal().trim())),
            (Some(url), None) => {
                let from_flag = environment("REDIS_URL").as_deref() != Some(url.reveal());
                if from_flag && has_password(url) { Err(ConfigError::PasswordInFlag) } else { Ok(url.clone()) }
            }
        }
    }

    fn check_durations(&self) -> Result<(), ConfigError> {
        for (setting, value) in [
            ("HEARTBEAT_INTERVAL", self.heartbeat_interval),
            ("HEARTBEAT_TIMEOUT", self.heartbeat_timeout),
            ("LEASE_TTL", self.lease_ttl),
            ("KILL_GRACE", self.kill_grace),
            ("AGENT_RETENTION", self.agent_retention),
            ("JOB_RETENTION", self.job_retention),
            ("CLEANUP_INTERVAL", self.cleanup_interval),
        ] {
            if !(SHORTEST..=LONGEST).contains(&value) {
                return Err(ConfigError::Duration { setting, value: humantime::format_duration(value) });
            }
        }
        if !(SHORTEST..=LONGEST_REDIS_TIMEOUT).contains(&self.redis_timeout) {
            return Err(ConfigError::RedisTimeout(humantime::format_duration(self.redis_timeout)));
        }
        if !(SHORTEST_TICKET..=LONGEST_TICKET).contains(&self.token_ttl) {
            return Err(ConfigError::TokenTtl(humantime::format_duration(self.token_ttl)));
        }
        if self.heartbeat_interval * 2 > self.heartbeat_timeout {
            return Err(ConfigError::Heartbeat {
                interval: humantime::format_duration(self.heartbeat_interval),
                timeout: humantime::format_duration(self.heartbeat_timeout),
            });
        }
        if self.heartbeat_interval * 4 > self.lease_ttl {
            return Err(ConfigError::HeartbeatLease {
                interval: humantime::format_duration(self.heartbeat_interval),
                lease: humantime::format_duration(self.lease_ttl),
            });
        }
        Ok(())
    }

    /// Where nobody parks, an agent of an idle pool is heard every `IDLE_POLL_MS` only, and may claim that late.
    fn pool_settings(&self, parking: Parking) -> PoolSettings {
        let interval_ms = ms(self.heartbeat_interval);
        let (heartbeat_interval_ms, claim_timeout_ms) = match parking {
            Parking::On => (interval_ms, CLAIM_TIMEOUT_MS),
            Parking::Off => (interval_ms.max(self.idle_poll_ms), interval_ms.max(self.idle_poll_ms)),
        };
        PoolSettings {
            heartbeat_interval_ms,
            heartbeat_timeout_ms: ms(self.heartbeat_timeout),
            lease_ttl_ms: ms(self.lease_ttl),
            kill_grace_ms: ms(self.kill_grace),
            claim_timeout_ms,
            agent_retention_ms: ms(self.agent_retention),
            job_retention_ms: ms(self.job_retention),
            job_retention_max: self.job_retention_max,
            output_budget_bytes: self.output_budget,
            prompt_budget_bytes: self.prompt_budget,
        }
    }

    fn origins(&self) -> Result<Vec<HeaderValue>, ConfigError> {
        let origins: Vec<_> = self.cors_allowed_origins.iter().map(|o| o.trim()).filter(|o| !o.is_empty()).collect();
        origins
            .iter()
            .map(|origin| {
                let good = if *origin == "*" { origins.len() == 1 } else { is_origin(origin) };
                let value = HeaderValue::from_str(origin).ok().filter(|_| good);
                value.ok_or_else(|| ConfigError::Origin((*origin).to_owned()))
            })
            .collect()
    }
}

impl From<DurabilityWord> for Durability {
    fn from(word: DurabilityWord) -> Self {
        match word {
            DurabilityWord::Local => Self::Local,
            DurabilityWord::Replicated => Self::Replicated,
        }
    }
}

/// Whether there is a `:` in what comes before the host, or a password of sentinels behind it.
fn has_password(url: &Secret) -> bool {
    let rest = url.reveal().split_once("://").map_or(url.reveal(), |(_, rest)| rest);
    rest.contains("password=") || rest.rsplit_once('@').is_some_and(|(before, _)| before.contains(':'))
}

fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '*', ' ', '@']))
}

fn admin_token(text: &Secret) -> Result<AdminToken, ConfigError> {
    let token = text.reveal().trim();
    if token.chars().count() < 16 {
        return Err(ConfigError::ShortAdminToken(token.chars().count()));
    }
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(ConfigError::UnsendableAdminToken);
    }
    Ok(AdminToken::new(token))
}

fn read_secret(
    name: &'static str,
    environment: &impl Fn(&str) -> Option<String>,
    file: Option<&Path>,
) -> Result<Option<Secret>, ConfigError> {
    let value = environment(name).filter(|v| !v.trim().is_empty());
    match (value, file) {
        (Some(_), Some(_)) => Err(ConfigError::Twice(name)),
        (Some(value), None) => Ok(Some(Secret::new(value))),
        (None, None) => Ok(None),
        (None, Some(path)) => {
            read_file(if name == "ADMIN_TOKEN" { "ADMIN_TOKEN_FILE" } else { "SIGNING_KEY_FILE" }, path).map(Some)
        }
    }
}

fn read_file(setting: &'static str, path: &Path) -> Result<Secret, ConfigError> {
    let unreadable = |cause| ConfigError::UnreadableFile { setting, path: path.display().to_string(), cause };
    fs::read_to_string(path).map(Secret::new).map_err(unreadable)
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
