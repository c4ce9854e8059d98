//! One command's connection to a coordinator, and its way to print.

use std::{io::Write, path::Path, time::Duration};

use anyhow::Context as _;
use serde::Serialize;
use titan_api::{
    client::{Client, ClientError, advice_for},
    loopback,
    problem::{Problem, ProblemType},
};

use crate::{
    failure::Failure,
    progress,
    render::style::Style,
    settings::{Format, Global},
    target::{KeyOrigin, Origin, Target, proxy_variable},
    trace,
};

/// Without a byte for this long a connection counts as broken; the coordinator sends something every 15 s.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The end of a hint at what may be wrong in many ways.
pub(crate) const LOOKS_CLOSER: &str = "; `titan doctor` looks closer";

/// What every command that calls a coordinator needs.
#[derive(Debug, Clone)]
pub struct Session {
    /// The connection.
    pub client: Client,
    /// How to print.
    pub format: Format,
    /// What standard output can show.
    pub style: Style,
    /// How to show progress, where that is possible.
    progress: Option<Style>,
    origin: Origin,
    key_origin: Option<KeyOrigin>,
    /// Whether nothing is to be said but errors.
    quiet: bool,
}

impl Session {
    /// Finds the coordinator and prepares to call it; nothing is sent yet.
    ///
    /// # Errors
    /// [`Failure`] if a setting is unusable.
    pub fn open(global: &Global) -> Result<Self, Failure> {
        Self::to(Target::find(global)?, global)
    }

    /// Prepares to call a coordinator that was found.
    ///
    /// # Errors
    /// [`Failure`] if a setting is unusable.
    pub fn to(target: Target, global: &Global) -> Result<Self, Failure> {
        let client = connect_trusting(&target.url, target.ca_file.as_deref())?;
        let mut client = client.with_trace(trace::of_environment());
        if let Some(pool) = &target.pool {
            client = client.with_pool(pool.as_str());
        }
        let key_origin = target.key.map(|(key, origin)| {
            client = client.clone().with_bearer(key.reveal());
            origin
        });
        Ok(Self { origin: target.origin, key_origin, ..Self::at(client, global) })
    }

    /// A session with a client that has its key.
    #[must_use]
    pub fn at(client: Client, global: &Global) -> Self {
        Self {
            client,
            format: global.output,
            style: Style::of_stdout(global),
            progress: progress::style(global),
            origin: Origin::Flag,
            key_origin: Some(KeyOrigin::Flag),
            quiet: false,
        }
    }

    /// The same session, which says nothing but errors if it is to be `quiet`.
    #[must_use]
    pub fn quiet(self, quiet: bool) -> Self {
        Self { quiet, ..self }
    }

    /// Says something about what `titan` itself does, on standard error.
    pub fn remark(&self, text: &str) {
        if !self.quiet {
            progress::remark(text);
        }
    }

    /// How to show progress on standard error; none where nobody would see it, or nobody wants to.
    #[must_use]
    pub fn progress_style(&self) -> Option<Style> {
        self.progress.filter(|_| !self.quiet)
    }

    /// Writes text to standard output.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be written.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        print(text)
    }

    /// Writes one JSON text as a line.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be written.
    pub fn print_json(&self, json: &str) -> Result<(), Failure> {
        print(&format!("{}\n", json.trim_end()))
    }

    /// Writes each thing as a line of JSON.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be written.
    pub fn print_lines<T: Serialize>(&self, things: &[T]) -> Result<(), Failure> {
        print_json_lines(things)
    }

    /// Makes a failed call into a failure with advice.
    pub fn failed(&self, doing: impl Into<String>) -> impl FnOnce(ClientError) -> Failure {
        let doing = doing.into();
        move |error| Failure::Call { doing, hint: self.hint(&error), error: Box::new(error) }
    }

    fn hint(&self, error: &ClientError) -> Option<String> {
        match error {
            ClientError::Unreachable { cause, .. } => Some(match advice_for(cause) {
                // Whoever it is that does not listen, it matters more where the URL came from.
                Some(advice) if !cause.contains("refused") => format!("{advice}; {}", self.hint_unreachable()),
                _ => self.hint_unreachable(),
            }),
            ClientError::Refused { problem, .. } => match problem.problem_type()? {
                ProblemType::NotFound => hint_not_found(problem.detail.as_deref()?),
                ProblemType::Conflict => hint_conflict(problem.detail.as_deref()?),
                // With nobody to rule out there is nobody at all.
                ProblemType::Unserved if problem.ruled_out.is_empty() => Some(
                    "no agent has joined this pool: `titan agents add` says how; or submit with --allow-unserved to wait \
                     for one"
                        .to_owned(),
                ),
                ProblemType::Forbidden if says(problem, "another pool than") => Some(
                    "leave out --pool (or TITAN_POOL): a key is for one pool, or ask an administrator for one of that pool"
                        .to_owned(),
                ),
                ProblemType::Forbidden
                    if says(problem, "for the administrator") && !matches!(self.origin, Origin::Dev { .. }) =>
                {
                    Some("the admin token may: add --key-file with the file that holds it".to_owned())
                }
                ProblemType::StoreUnavailable if says(problem, "lost all API keys") => Some(
                    "bring back what Redis held; or, with the admin token, `titan keys create` makes new keys".to_owned(),
                ),
                // No key may publish under the pool's own topics, so another one is no advice.
                ProblemType::Forbidden if says(problem, "topic") => {
                    Some("choose another topic: those that begin so are the pool's own".to_owned())
                }
                problem => self.hint_refused(problem),
            },
            ClientError::Unexpected { .. } | ClientError::NotHttp { .. } => Some(format!(
                "check that {} is the URL of a coordinator, without a path, and that no proxy answers in its place",
                self.client.base()
            )),
        }
    }

    fn hint_unreachable(&self) -> String {
        let proxy = proxy_variable(self.client.base());
        let first = proxy.map(|name| format!("look at the proxy that {name} names first; ")).unwrap_or_default();
        first + &self.hint_of_origin()
    }

    fn hint_of_origin(&self) -> String {
        match &self.origin {
            Origin::Flag => format!("check --url, and that the coordinator runs{LOOKS_CLOSER}"),
            Origin::Argument => "check the URL, and that the coordinator runs; --no-check keeps it unseen".to_owned(),
            Origin::Variable => format!("check TITAN_URL, and that the coordinator runs{LOOKS_CLOSER}"),
            Origin::Context(name) => {
                format!("the URL is that of context {name}, and `titan context use` changes over{LOOKS_CLOSER}")
            }
            Origin::Default => {
                "`titan dev` starts a coordinator here; `titan login URL` or TITAN_URL names another".to_owned()
            }
            Origin::Dev { file, dev } => format!(
                "the URL is that of `titan dev` (process {}, by {}), which seems to have ended: start it again, or \
                 name another with `titan login URL` or TITAN_URL",
                dev.pid,
                file.display()
            ),
        }
    }

    /// What to do about a key that is not good, or does not allow this.
    fn hint_key(&self, allows_nothing: bool) -> String {
        let base = self.client.base();
        match (&self.key_origin, &self.origin) {
            (None, _) => format!("`titan login {base}` asks for a key and keeps it; or set TITAN_API_KEY"),
            (Some(KeyOrigin::Dev), Origin::Dev { dev, .. }) if !allows_nothing => {
                format!("the admin token of this `titan dev` may: add --key-file {}", dev.admin_token().display())
            }
            (Some(_), _) if !allows_nothing => {
                "ask an administrator for a key with the scope that this needs".to_owned()
            }
            (Some(KeyOrigin::Context(name)), _) => format!(
                "the key of context {name} is wrong, expired or revoked: `titan login {base} --name {name}` keeps another"
            ),
            (Some(KeyOrigin::Variable), _) => {
                "the key in TITAN_API_KEY is wrong, expired or revoked: ask an administrator for another".to_owned()
            }
            (Some(_), _) => "the key is wrong, expired or revoked: ask an administrator for another".to_owned(),
        }
    }

    fn hint_refused(&self, problem: ProblemType) -> Option<String> {
        let hint = match problem {
            ProblemType::Unauthorized => return Some(self.hint_key(true)),
            ProblemType::Forbidden => return Some(self.hint_key(false)),
            ProblemType::Unserved => {
                "ask for less, add an agent that has it, or submit with --allow-unserved (in a file: `allow_unserved`) to wait for \
                 one"
            }
            ProblemType::ModelNotFound => {
                "`titan models ls` shows those that there are; a backend that is away or loading offers none, and `titan agents ls` \
                 calls its agent hindered"
            }
            ProblemType::DeadlinePassed => "`titan agents ls` shows who is busy or away; or try again later",
            ProblemType::StoreFull => "submit again when jobs have ended or the store has more memory",
            ProblemType::StoreUnavailable => {
                return Some(format!("Redis is away or busy; all goes on by itself when it is back{LOOKS_CLOSER}"));
            }
            ProblemType::Overloaded | ProblemType::TooManyRequests => "try again later",
            ProblemType::NotReplicated => {
                "a replica of Redis must come back; the work is accepted, unless Redis fails before"
            }
            ProblemType::Internal => "the coordinator's log has the cause under the request id",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

fn says(problem: &Problem, words: &str) -> bool {
    problem.detail.as_ref().is_some_and(|detail| detail.contains(words))
}

/// Where to look for the thing that was meant.
fn hint_not_found(detail: &str) -> Option<String> {
    if detail.starts_with("there is no such route") {
        return Some(format!("check that the URL is without a path, and that the versions are the same{LOOKS_CLOSER}"));
    }
    let lists = [("job", "jobs ls"), ("agent", "agents ls"), ("API key", "keys ls"), ("join token", "join-tokens ls")];
    let list = lists.iter().find(|(noun, _)| detail.contains(&format!("no {noun} ")))?.1;
    Some(format!("`titan {list}` shows those that there are"))
}

/// What has to be so before this can be done.
fn hint_conflict(detail: &str) -> Option<String> {
    let advice = "`titan agents show` tells its models with their backends; on the box, `titan agent doctor` says what is \
                  wrong with them, and docs/agent.md how its policy allows pulling";
    detail.contains("cannot pull models").then(|| advice.to_owned())
}

/// Writes text to standard output.
///
/// # Errors
/// [`Failure`] if it cannot be written.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes each thing as a line of JSON to standard output.
///
/// # Errors
/// [`Failure`] if it cannot be written.
pub fn print_json_lines<T: Serialize>(things: &[T]) -> Result<(), Failure> {
    let lines: Result<String, _> = things.iter().map(|t| serde_json::to_string(t).map(|line| line + "\n")).collect();
    print(&lines.context("it cannot be written as JSON")?)
}

/// A client for a coordinator, without a key.
///
/// # Errors
/// If this machine's TLS settings are unusable.
pub fn connect(url: &str) -> Result<Client, Failure> {
    connect_trusting(url, None)
}

/// The same, trusting the certificates of a file beside the system's.
///
/// # Errors
/// If this machine's TLS settings, or the file, are unusable.
pub fn connect_trusting(url: &str, ca_file: Option<&Path>) -> Result<Client, Failure> {
    let mut http = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        // A coordinator never redirects; following one could carry the key elsewhere.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("titan/", env!("CARGO_PKG_VERSION")));
    if let Some(file) = ca_file {
        http = http.tls_certs_merge(certificates(file)?);
    }
    if loopback::is_url(url) {
        // A proxy of the environment cannot reach this machine's own ports.
        http = http.no_proxy();
    }
    let http = http.build().context("the HTTP client cannot be prepared")?;
    Ok(Client::new(http, url))
}

fn certificates(file: &Path) -> Result<Vec<reqwest::Certificate>, Failure> {
    let doing = || format!("the certificates in {} cannot be read", file.display());
    let pem = std::fs::read(file).with_context(doing)?;
    let certificates = reqwest::Certificate::from_pem_bundle(&pem).with_context(doing)?;
    if certificates.is_empty() {
        return Err(Failure::Usage(format!("{} holds no certificate in PEM", file.display())));
    }
    Ok(certificates)
}
