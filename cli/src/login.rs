//! `titan login`: tries a coordinator and a key, and keeps both under a name.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use titan_api::{client::ClientError, loopback, secret::Secret};

use crate::{
    failure::Failure,
    files::contexts::{Contexts, Name, Saved, same_url},
    key,
    session::Session,
    settings::Global,
    target::{KeyOrigin, Origin, Target, checked_url, variable},
};

/// What every join token begins with.
const JOIN_TOKEN: &str = "titan-join_";

/// Arguments of `titan login`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The key comes from --key-file, else from TITAN_API_KEY or the file that
TITAN_API_KEY_FILE names, else it is asked for on the terminal, else it is the
first line of standard input. It is kept in
$XDG_CONFIG_HOME/titan/contexts.json (or ~/.config/titan/contexts.json), which
only you can read, and goes to this URL alone.

Examples:
  titan login https://titan.example.org
  titan login https://titan.example.org --name work < key.txt
  titan login https://titan.internal --ca-file ca.pem --pool research")]
pub struct Options {
    /// The coordinator's URL.
    #[arg(value_name = "COORDINATOR")]
    pub coordinator: String,
    /// What to call it. Without it: the URL's host, or the name under which this URL is kept already.
    #[arg(long, value_name = "NAME")]
    pub name: Option<Name>,
    /// Keep it without calling the coordinator, which may be away.
    #[arg(long)]
    pub no_check: bool,
}

/// Tries the key, keeps it, and makes this the current context.
///
/// # Errors
/// [`Failure`] if nobody answers at the URL, the key is not good, or the file cannot be written.
pub async fn run(options: Options, global: Global) -> Result<(), Failure> {
    if global.url.is_some() || global.context.is_some() {
        return Err(Failure::Usage(
            "`titan login` takes the URL as its argument, not by --url or --context".to_owned(),
        ));
    }
    let url = checked_url(&options.coordinator, "the URL")?;
    let mut contexts = Contexts::load()?;
    let name = name_for(&options, &url, &contexts)?;
    if url.starts_with("http://") && !loopback::is_url(&url) {
        eprintln!("warning: {url} is not encrypted: whoever is on the way can read the key; use https if you can");
    }
    let key = read_key(&name, &global)?;
    if key.reveal().starts_with(JOIN_TOKEN) {
        let why = "that is a join token, with which a machine joins; to log in takes an API key or the admin token";
        return Err(Failure::Usage(why.to_owned()));
    }
    let saved = Saved { url, key: Some(key), pool: global.pool.clone(), ca_file: absolute(global.ca_file.as_ref())? };
    if !options.no_check {
        check(&name, &saved, &global).await?;
    }
    let url = saved.url.clone();
    contexts.contexts.insert(name.clone(), saved);
    contexts.current = Some(name.clone());
    let file = contexts.save()?;
    eprintln!("logged in: {url} is context {name}, and the current one (kept in {})", file.display());
    for variable in ["TITAN_URL", "TITAN_CONTEXT", "TITAN_API_KEY"] {
        if self::variable(variable).is_some() {
            eprintln!("note: {variable} is set here, and goes before the context");
        }
    }
    Ok(())
}

fn name_for(options: &Options, url: &str, contexts: &Contexts) -> Result<Name, Failure> {
    let Some(name) = options.name.clone() else {
        return Ok(contexts.at_url(url).map_or_else(|| fresh_name(url, contexts), |(name, _)| name.clone()));
    };
    if name.is_dev() {
        return Err(Failure::Usage("the name dev is that of a running `titan dev`; choose another".to_owned()));
    }
    match contexts.contexts.get(&name) {
        Some(saved) if !same_url(&saved.url, url) => Err(Failure::Usage(format!(
            "context {name} is for {}; choose another --name, or `titan context rm {name}` first",
            saved.url
        ))),
        _ => Ok(name),
    }
}

/// The URL's host, with the port if another context is called by the host already or there is an unusual one.
fn fresh_name(url: &str, contexts: &Contexts) -> Name {
    let parsed = reqwest::Url::parse(url).ok();
    let host = parsed.as_ref().and_then(|u| u.host_str()).unwrap_or("coordinator").to_owned();
    let port = parsed.as_ref().and_then(reqwest::Url::port);
    let known = |name: &Name| contexts.contexts.contains_key(name);
    let name = Name::of_host(&host, port);
    if !known(&name) {
        return name;
    }
    (2..u16::MAX).map(|number| Name::of_host(&host, Some(number))).find(|name| !known(name)).unwrap_or(name)
}

fn read_key(name: &Name, global: &Global) -> Result<Secret, Failure> {
    if let Some((key, _)) = key::of_flag(global.key_file.as_deref())? {
        return Ok(key);
    }
    if let Some((key, origin)) = key::of_environment()? {
        let source = match origin {
            KeyOrigin::VariableFile(file) => file.display().to_string(),
            _ => "TITAN_API_KEY".to_owned(),
        };
        eprintln!("taking the key from {source}");
        return Ok(key);
    }
    key::asked_for(&format!("API key or admin token for {name} (it is not shown): "))
}

/// The same file from wherever `titan` is called.
fn absolute(file: Option<&PathBuf>) -> Result<Option<PathBuf>, Failure> {
    let absolute = |file: &PathBuf| {
        file.canonicalize().with_context(|| format!("the certificates in {} cannot be read", file.display()))
    };
    Ok(file.map(absolute).transpose()?)
}

/// Asks the coordinator something that needs a key. A key that may not see the pool's status is good all the same.
async fn check(name: &Name, saved: &Saved, global: &Global) -> Result<(), Failure> {
    let target = Target {
        url: saved.url.clone(),
        origin: Origin::Argument,
        key: saved.key.clone().map(|key| (key, KeyOrigin::Flag)),
        pool: saved.pool.clone(),
        ca_file: saved.ca_file.clone(),
    };
    let session = Session::to(target, global)?;
    let doing = || format!("log in as {name}");
    session.client.health().await.map_err(session.failed(doing()))?;
    match session.client.status(false).await {
        Ok(_) => Ok(()),
        Err(ClientError::Refused { problem, .. }) if problem.status == 403 && saved.pool.is_none() => Ok(()),
        Err(error) => Err(session.failed(doing())(error)),
    }
}
