//! Which coordinator to call, with which key, and how to show what it says.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use titan_api::ids::PoolName;

use crate::{
    context::{self, DevContext},
    failure::Failure,
};

/// Where a coordinator is looked for if nothing says where it is.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// Flags that every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The coordinator's URL. Without it: that of a running `titan dev`, else port 8080 of this machine.
    #[arg(long, global = true, env = "TITAN_URL", value_name = "URL")]
    pub url: Option<String>,
    /// A file that holds the API key or admin token. Without it: the variable `TITAN_API_KEY`, else the file that
    /// `TITAN_API_KEY_FILE` names, else the key of a running `titan dev`. A key is never given as a flag's value, since
    /// other users of a machine can see those.
    #[arg(long, global = true, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// The pool to act in. Only an admin token may name one; a key belongs to its pool.
    #[arg(long, global = true, env = "TITAN_POOL", value_name = "POOL")]
    pub pool: Option<PoolName>,
    /// How to print what was asked for.
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
    /// No colours; the variable `NO_COLOR` says the same.
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// How to print what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people: aligned columns.
    #[default]
    Table,
    /// The coordinator's reply exactly as it came.
    Json,
    /// One line of JSON for each thing in a list.
    Jsonl,
    /// The id of each thing, one a line.
    Name,
}

/// How the URL was found, for advice when nobody answers there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From `--url` or `TITAN_URL`.
    Given,
    /// From the file that `titan dev` writes.
    Dev {
        /// The file.
        file: PathBuf,
        /// The process that wrote it.
        pid: u32,
    },
    /// Nothing said where.
    Default,
}

/// The coordinator to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its URL.
    pub url: String,
    /// How the URL was found.
    pub origin: Origin,
    /// The key to call it with.
    pub key: Option<String>,
}

impl Target {
    /// Finds the coordinator and the key: flags, then the environment, then a running `titan dev`.
    ///
    /// The key of `titan dev` goes to no other URL than its own.
    ///
    /// # Errors
    /// [`Failure`] if the URL, the key or a file is unusable.
    pub fn find(global: &Global) -> Result<Self, Failure> {
        let key = given_key(global.key_file.as_deref())?;
        if let Some(url) = &global.url {
            return Ok(Self { url: checked_url(url)?, origin: Origin::Given, key });
        }
        let Some(file) = context::path() else { return Ok(Self::at_default(key)) };
        Ok(match DevContext::read(&file)? {
            Some(dev) => {
                Self { url: dev.url, origin: Origin::Dev { file, pid: dev.pid }, key: key.or(Some(dev.api_key)) }
            }
            None => Self::at_default(key),
        })
    }

    fn at_default(key: Option<String>) -> Self {
        Self { url: DEFAULT_URL.to_owned(), origin: Origin::Default, key }
    }
}

/// The key that was set: by the flag, else by `TITAN_API_KEY`, else by the file that `TITAN_API_KEY_FILE` names.
fn given_key(flag: Option<&Path>) -> Result<Option<String>, Failure> {
    if let Some(file) = flag {
        return key_of_file(file).map(Some);
    }
    if let Ok(key) = std::env::var("TITAN_API_KEY") {
        return checked_key(&key, "TITAN_API_KEY").map(Some);
    }
    let file = std::env::var_os("TITAN_API_KEY_FILE").filter(|name| !name.is_empty());
    file.map(|name| key_of_file(Path::new(&name))).transpose()
}

fn key_of_file(file: &Path) -> Result<String, Failure> {
    let key = std::fs::read_to_string(file);
    let key = key.with_context(|| format!("the key file {} cannot be read", file.display()))?;
    checked_key(&key, &file.display().to_string())
}

fn checked_key(key: &str, source: &str) -> Result<String, Failure> {
    let key = key.trim();
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Failure::Usage(format!("{source} holds no key: it must be one line of visible ASCII characters")));
    }
    Ok(key.to_owned())
}

fn checked_url(url: &str) -> Result<String, Failure> {
    let parsed = reqwest::Url::parse(url).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
    let wrong = |why: &str| Failure::Usage(format!("--url (TITAN_URL) {why}, for example {DEFAULT_URL}"));
    match parsed {
        None => Err(wrong("must be a URL with http or https")),
        // The URL itself is not repeated: it may hold a password.
        Some(u) if !u.username().is_empty() || u.password().is_some() => {
            Err(wrong("must hold no user and no password"))
        }
        Some(_) => Ok(url.to_owned()),
    }
}
