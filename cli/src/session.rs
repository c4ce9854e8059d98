//! One command's connection to a coordinator, and its way to print.

use std::{io::Write, time::Duration};

use anyhow::Context as _;
use serde::Serialize;
use titan_api::{
    client::{Client, ClientError},
    problem::ProblemType,
};

use crate::{
    failure::Failure,
    render::style::Style,
    settings::{Format, Global, Origin, Target},
};

/// Without a byte for this long a connection counts as broken; the coordinator sends something every 15 s.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What every command that calls a coordinator needs.
#[derive(Debug, Clone)]
pub struct Session {
    /// The connection.
    pub client: Client,
    /// How to print.
    pub format: Format,
    /// What standard output can show.
    pub style: Style,
    origin: Origin,
    has_key: bool,
}

impl Session {
    /// Finds the coordinator and prepares to call it; nothing is sent yet.
    ///
    /// # Errors
    /// [`Failure`] if a setting is unusable.
    pub fn open(global: &Global) -> Result<Self, Failure> {
        let target = Target::find(global)?;
        let mut client = connect(&target.url)?;
        if let Some(pool) = &global.pool {
            client = client.with_pool(pool.as_str());
        }
        let has_key = target.key.is_some();
        if let Some(key) = target.key {
            client = client.with_bearer(key);
        }
        Ok(Self { origin: target.origin, has_key, ..Self::at(client, global) })
    }

    /// A session with a client that has its key.
    #[must_use]
    pub fn at(client: Client, global: &Global) -> Self {
        let style = Style::of_stdout(global.no_color);
        Self { client, format: global.output, style, origin: Origin::Given, has_key: true }
    }

    /// Writes text to standard output.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be written.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// Writes one JSON text as a line.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be written.
    pub fn print_json(&self, json: &str) -> Result<(), Failure> {
        self.print(&format!("{}\n", json.trim_end()))
    }

    /// Writes each thing as a line of JSON.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be written.
    pub fn print_lines<T: Serialize>(&self, things: &[T]) -> Result<(), Failure> {
        let lines: Result<String, _> =
            things.iter().map(|t| serde_json::to_string(t).map(|line| line + "\n")).collect();
        self.print(&lines.context("the reply cannot be written as JSON")?)
    }

    /// Makes a failed call into a failure with advice.
    pub fn failed(&self, doing: impl Into<String>) -> impl FnOnce(ClientError) -> Failure {
        let doing = doing.into();
        move |error| Failure::Call { doing, hint: self.hint(&error), error: Box::new(error) }
    }

    fn hint(&self, error: &ClientError) -> Option<String> {
        match error {
            ClientError::Unreachable { .. } => Some(self.hint_unreachable()),
            ClientError::Refused { problem, .. } => self.hint_refused(problem.problem_type()?),
            ClientError::Unexpected { .. } => Some(format!("check that {} is a coordinator", self.client.base())),
        }
    }

    fn hint_unreachable(&self) -> String {
        match &self.origin {
            Origin::Given => "check --url (TITAN_URL), and that the coordinator runs".to_owned(),
            Origin::Default => "`titan dev` starts a coordinator here; TITAN_URL or --url names another".to_owned(),
            Origin::Dev { file, pid } => format!(
                "the URL is that of `titan dev` (process {pid}, by {}), which seems to have ended: start it again, or \
                 set TITAN_URL",
                file.display()
            ),
        }
    }

    fn hint_refused(&self, problem: ProblemType) -> Option<String> {
        let hint = match problem {
            ProblemType::Unauthorized if !self.has_key => "set TITAN_API_KEY, or give --key-file",
            ProblemType::Unauthorized => "the key is wrong, expired or revoked: ask an administrator for another",
            ProblemType::Forbidden => "ask an administrator for a key with the scope that this needs",
            ProblemType::Unserved => "register an agent that has it, or submit with --allow-unserved to wait for one",
            ProblemType::StoreFull => "submit again when jobs have ended or the store has more memory",
            ProblemType::StoreUnavailable | ProblemType::Overloaded | ProblemType::TooManyRequests => "try again later",
            ProblemType::Internal => "the coordinator's log has the cause under the request id",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// A client for a coordinator, without a key.
///
/// # Errors
/// If this machine's TLS settings are unusable.
pub fn connect(url: &str) -> Result<Client, Failure> {
    let mut http = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        // A coordinator never redirects; following one could carry the key elsewhere.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("titan/", env!("CARGO_PKG_VERSION")));
    if is_loopback(url) {
        // A proxy of the environment cannot reach this machine's own ports.
        http = http.no_proxy();
    }
    let http = http.build().context("the HTTP client cannot be prepared")?;
    Ok(Client::new(http, url))
}

fn is_loopback(url: &str) -> bool {
    let host = reqwest::Url::parse(url).ok().and_then(|u| u.host_str().map(str::to_owned)).unwrap_or_default();
    host == "localhost" || host == "[::1]" || host.starts_with("127.")
}
