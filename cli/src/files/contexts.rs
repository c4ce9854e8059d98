//! Named coordinators: where each is, and the key to call it with.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use titan_api::{ids::PoolName, secret::Secret};

use super::write_private;

/// The name under which a running `titan dev` is found; no saved context may have it.
pub const DEV: &str = "dev";
const LONGEST_NAME: usize = 64;

/// A context's name: 1 to 64 characters of A-Z a-z 0-9 . _ -
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is that of a running `titan dev`.
    #[must_use]
    pub fn is_dev(&self) -> bool {
        self.0 == DEV
    }

    /// The name that a coordinator at this host and port has if nobody chooses one.
    #[must_use]
    pub fn of_host(host: &str, port: Option<u16>) -> Self {
        let port = port.map(|port| format!("-{port}")).unwrap_or_default();
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        let text: String = host.trim_matches(['[', ']']).chars().map(plain).take(LONGEST_NAME - port.len()).collect();
        // A command line would take it for a flag.
        let text = text.trim_start_matches('-').to_owned();
        let text = if text == DEV { "dev-host".to_owned() } else { text };
        Self(text + &port)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if text.is_empty() || text.len() > LONGEST_NAME || !text.bytes().all(allowed) {
            return Err(format!("a context's name must be 1 to {LONGEST_NAME} characters of A-Z a-z 0-9 . _ -"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Name {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Where it is.
    pub url: String,
    /// The key to call it with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// The pool to act in, for an admin token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// Certificates to trust beside the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contexts {
    /// The one that is called if nothing names another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Name>,
    /// Each by its name.
    #[serde(default)]
    pub contexts: BTreeMap<Name, Saved>,
}

/// Where the file is: `contexts.json` in the folder of [`super::path`].
#[must_use]
pub fn path() -> Option<PathBuf> {
    super::path("contexts.json")
}

impl Contexts {
    /// Reads the file; without one there are no contexts.
    ///
    /// # Errors
    /// If there is a file that cannot be read.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let Some(text) = super::read(path)? else { return Ok(Self::default()) };
        serde_json::from_slice(&text).with_context(|| {
            format!(
                "{} cannot be read as the contexts of `titan`; mend it, or remove it and log in again",
                path.display()
            )
        })
    }

    /// The contexts of this user; none where there is no home.
    ///
    /// # Errors
    /// As [`Contexts::read`].
    pub fn load() -> anyhow::Result<Self> {
        path().map_or_else(|| Ok(Self::default()), |path| Self::read(&path))
    }

    /// Writes the file, readable by its owner alone.
    ///
    /// # Errors
    /// If there is no home, or the file or its folder cannot be written.
    pub fn save(&self) -> anyhow::Result<PathBuf> {
        let path = path().context("there is no HOME to keep contexts in; set HOME or XDG_CONFIG_HOME")?;
        write_private(&path, &serde_json::to_vec_pretty(self)?)?;
        Ok(path)
    }

    /// The context for a URL: the current one if it is that, else the first by name.
    #[must_use]
    pub fn at_url(&self, url: &str) -> Option<(&Name, &Saved)> {
        let is_there = |(_, saved): &(&Name, &Saved)| same_url(&saved.url, url);
        let current = self.current.as_ref().and_then(|name| self.contexts.get_key_value(name));
        current.filter(is_there).or_else(|| self.contexts.iter().find(is_there))
    }
}

/// Whether two URLs lead to the same coordinator.
#[must_use]
pub fn same_url(one: &str, other: &str) -> bool {
    let plain = |url: &str| reqwest::Url::parse(url).map(|url| url.as_str().trim_end_matches('/').to_owned()).ok();
    plain(one).is_some_and(|one| Some(one) == plain(other))
}
