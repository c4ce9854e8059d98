//! The coordinator to call and the key to call it with: what a flag says goes before what the environment says, and
//! that before what is saved.

use std::path::{Path, PathBuf};

use titan_api::{ids::PoolName, loopback, secret::Secret};

use crate::{
    failure::Failure,
    files::{
        contexts::{self, Contexts, DEV, Name, Saved},
        dev::{self, DevContext},
    },
    key,
    settings::Global,
};

/// Where a coordinator is looked for if nothing says where it is.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// How the URL was found, for advice when nobody answers there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From `--url`.
    Flag,
    /// From what `titan login` was called with.
    Argument,
    /// From `TITAN_URL`.
    Variable,
    /// From a saved context.
    Context(Name),
    /// From the file that `titan dev` writes.
    Dev {
        /// The file.
        file: PathBuf,
        /// What it says.
        dev: DevContext,
    },
    /// Nothing said where.
    Default,
}

/// Where the key was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyOrigin {
    /// In the file that `--key-file` names, or on standard input.
    Flag,
    /// In `TITAN_API_KEY`.
    Variable,
    /// In the file that `TITAN_API_KEY_FILE` names.
    VariableFile(PathBuf),
    /// In a saved context.
    Context(Name),
    /// In the file that `titan dev` writes.
    Dev,
}

/// The coordinator to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its URL.
    pub url: String,
    /// How the URL was found.
    pub origin: Origin,
    /// The key to call it with, and where it was found.
    pub key: Option<(Secret, KeyOrigin)>,
    /// The pool to act in.
    pub pool: Option<PoolName>,
    /// Certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
}

impl Target {
    /// Finds the coordinator, the key and the pool. A saved key goes to no other URL than its own.
    ///
    /// # Errors
    /// [`Failure`] if the URL, the key or a file is unusable, or there is no context of that name.
    pub fn find(global: &Global) -> Result<Self, Failure> {
        let found = find_place(global)?;
        let is_named = global.context.is_some();
        let key = key::of_flag(global.key_file.as_deref())?;
        Ok(Self {
            key: stronger(key, is_named, found.key, key::of_environment)?,
            pool: stronger(global.pool.clone(), is_named, found.pool, pool_of_environment)?,
            ca_file: stronger(global.ca_file.clone(), is_named, found.ca_file, || Ok(path_of_environment()))?,
            ..found
        })
    }

    fn at(url: String, origin: Origin) -> Self {
        Self { url, origin, key: None, pool: None, ca_file: None }
    }
}

/// The flag's value, else that of a context that a flag names, else the environment's, else what is saved: a context
/// that a flag names is stronger than the environment in all that it says.
fn stronger<T>(
    flag: Option<T>,
    is_named: bool,
    saved: Option<T>,
    environment: impl FnOnce() -> Result<Option<T>, Failure>,
) -> Result<Option<T>, Failure> {
    match (flag, saved) {
        (Some(value), _) => Ok(Some(value)),
        (None, Some(saved)) if is_named => Ok(Some(saved)),
        (None, saved) => Ok(environment()?.or(saved)),
    }
}

fn find_place(global: &Global) -> Result<Target, Failure> {
    let contexts = Contexts::load()?;
    if let Some(url) = &global.url {
        if global.context.is_some() {
            return Err(Failure::Usage("--url and --context each name a coordinator; give one of them".to_owned()));
        }
        return at_url(checked_url(url, "--url")?, Origin::Flag, &contexts);
    }
    if let Some(name) = &global.context {
        return of_context(name, &contexts);
    }
    if let Some(url) = variable("TITAN_URL") {
        return at_url(checked_url(&url, "TITAN_URL")?, Origin::Variable, &contexts);
    }
    if let Some(name) = variable("TITAN_CONTEXT") {
        let name: Name = name.parse().map_err(|why| Failure::Usage(format!("TITAN_CONTEXT: {why}")))?;
        return of_context(&name, &contexts);
    }
    match &contexts.current {
        Some(name) => of_context(name, &contexts),
        None => Ok(of_dev()?.unwrap_or_else(|| Target::at(DEFAULT_URL.to_owned(), Origin::Default))),
    }
}

/// The URL that was given; if a context is for it, or a running `titan dev`, with the key of that.
fn at_url(url: String, origin: Origin, contexts: &Contexts) -> Result<Target, Failure> {
    if let Some((name, saved)) = contexts.at_url(&url) {
        return Ok(Target { url, origin, ..saved_target(name, saved) });
    }
    Ok(match of_dev()?.filter(|dev| dev.url == url) {
        Some(dev) => Target { url, origin, ..dev },
        None => Target::at(url, origin),
    })
}

fn of_context(name: &Name, contexts: &Contexts) -> Result<Target, Failure> {
    match contexts.contexts.get(name) {
        Some(saved) => Ok(saved_target(name, saved)),
        None if name.is_dev() => of_dev()?.ok_or_else(|| {
            Failure::Unavailable("no `titan dev` runs here; start one, or choose another context".to_owned())
        }),
        None => Err(unknown_context(name, contexts)),
    }
}

/// What to say of a context that is not kept.
#[must_use]
pub fn unknown_context(name: &Name, contexts: &Contexts) -> Failure {
    if name.is_dev() {
        return Failure::Usage("dev is kept nowhere: it is there as long as a `titan dev` runs".to_owned());
    }
    // What is wrong with its file is no matter here.
    let dev = of_dev().is_ok_and(|dev| dev.is_some()).then_some(DEV);
    let names: Vec<_> = contexts.contexts.keys().map(Name::as_str).chain(dev).collect();
    let known = match names.as_slice() {
        [] => "there are none yet: `titan login URL` makes one".to_owned(),
        names => format!("there are: {}", names.join(", ")),
    };
    Failure::Missing(format!("there is no context {name}; {known}"))
}

fn saved_target(name: &Name, saved: &Saved) -> Target {
    Target {
        url: saved.url.clone(),
        origin: Origin::Context(name.clone()),
        key: saved.key.clone().map(|key| (key, KeyOrigin::Context(name.clone()))),
        pool: saved.pool.clone(),
        ca_file: saved.ca_file.clone(),
    }
}

/// A running `titan dev`; none if none runs here.
///
/// # Errors
/// [`Failure`] if its file cannot be read.
pub fn of_dev() -> Result<Option<Target>, Failure> {
    let Some(file) = dev::path() else { return Ok(None) };
    let Some(dev) = DevContext::read(&file)? else { return Ok(None) };
    let key = key::checked(&dev.api_key, &file.display().to_string())?;
    let url = dev.url.clone();
    Ok(Some(Target { key: Some((key, KeyOrigin::Dev)), ..Target::at(url, Origin::Dev { file, dev }) }))
}

fn pool_of_environment() -> Result<Option<PoolName>, Failure> {
    let pool = variable("TITAN_POOL").map(|pool| pool.parse());
    pool.transpose().map_err(|why| Failure::Usage(format!("TITAN_POOL: {why}")))
}

fn path_of_environment() -> Option<PathBuf> {
    variable("TITAN_CA_FILE").map(PathBuf::from)
}

/// The variable that names the proxy by which this URL is called, unless `NO_PROXY` names its host.
#[must_use]
pub fn proxy_variable(url: &str) -> Option<&'static str> {
    let names = if url.starts_with("https://") { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    let set = names.into_iter().chain(["ALL_PROXY", "all_proxy"]).find(|name| variable(name).is_some());
    set.filter(|_| !loopback::is_url(url))
}

/// A variable of the environment that is not empty.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The URL, if it is one that a coordinator can have.
///
/// # Errors
/// [`Failure::Usage`] says what is wrong with it, without repeating it: it may hold a password.
pub fn checked_url(url: &str, source: &str) -> Result<String, Failure> {
    let parsed = reqwest::Url::parse(url).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
    let wrong = |why: &str| Failure::Usage(format!("{source} {why}, for example {DEFAULT_URL}"));
    match parsed {
        None => Err(wrong("must be a URL with http or https")),
        Some(u) if !u.username().is_empty() || u.password().is_some() => {
            Err(wrong("must hold no user and no password"))
        }
        Some(u) if u.query().is_some() || u.fragment().is_some() => Err(wrong("must end with its path")),
        Some(_) => Ok(url.trim_end_matches('/').to_owned()),
    }
}

/// Whether the file with the contexts can be read by others, and is worth a warning.
#[must_use]
pub fn exposed_contexts() -> Option<PathBuf> {
    contexts::path().filter(|path: &PathBuf| crate::files::is_open_to_others(Path::new(path)))
}
