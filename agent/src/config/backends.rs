//! Backends as an operator names them: `KIND=URL` on the command line, a text of that form or a table in the file.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    str::FromStr,
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use titan_api::limits;

use crate::backends::Kind;

/// Backends of one agent.
const MOST: usize = 64;

/// One backend.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendArg {
    /// What it is called in logs; its kind and address by default.
    #[serde(default)]
    pub name: Option<String>,
    /// How to speak to it.
    pub kind: Kind,
    /// Its URL, without `/v1`.
    pub url: String,
    /// A file that holds the key that it wants as a bearer.
    #[serde(default)]
    pub api_key_file: Option<PathBuf>,
    /// How many requests it serves at once for each model.
    #[serde(default)]
    pub parallel: Option<u32>,
    /// Megabytes of GPU memory that a model takes once it is loaded, by the backend's own name.
    #[serde(default)]
    pub vram_mb: BTreeMap<String, u64>,
    /// Public names for models: the pool sees a model under the name on the left instead of the backend's on the right.
    #[serde(default)]
    pub aliases: BTreeMap<String, String>,
}

impl BackendArg {
    /// One of which only this is known.
    pub(crate) fn plain(kind: Kind, url: impl Into<String>) -> Self {
        let (parallel, vram_mb, aliases) = (None, BTreeMap::new(), BTreeMap::new());
        Self { name: None, kind, url: url.into(), api_key_file: None, parallel, vram_mb, aliases }
    }
}

impl FromStr for BackendArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((kind, url)) = text.split_once('=') else {
            return Err("a backend is given as KIND=URL, for example ollama=http://127.0.0.1:11434".to_owned());
        };
        Ok(Self::plain(kind.trim().parse()?, url.trim()))
    }
}

/// Texts of the form `KIND=URL`, or tables.
pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<BackendArg>, D::Error> {
    let entries = match Value::deserialize(from)? {
        Value::Array(entries) => entries,
        one => vec![one],
    };
    let entry = |entry| match entry {
        Value::String(text) => text.parse().map_err(de::Error::custom),
        table => serde_json::from_value(table).map_err(de::Error::custom),
    };
    entries.into_iter().map(entry).collect()
}

/// Refuses what makes no sense.
///
/// # Errors
/// Says which backend is wrong, and how.
pub(super) fn check(all: &[BackendArg]) -> anyhow::Result<Vec<BackendArg>> {
    ensure!(all.len() <= MOST, "{} backends are named; an agent may have {MOST}", all.len());
    let mut urls = BTreeSet::new();
    all.iter()
        .map(|given| {
            let mut backend = given.clone();
            backend.url = url(&given.url)?;
            ensure!(urls.insert(backend.url.clone()), "the backend {} is named twice", backend.url);
            check_one(&backend).with_context(|| format!("the backend {}", backend.url))?;
            Ok(backend)
        })
        .collect()
}

fn url(text: &str) -> anyhow::Result<String> {
    // The text itself is left out as long as it may hold a password.
    let url = reqwest::Url::parse(text)
        .context("what --backend names is no URL; an example is ollama=http://127.0.0.1:11434")?;
    ensure!(
        url.username().is_empty() && url.password().is_none(),
        "the URL of a --backend must not hold a user name or a password: put its key into a file and name that as \
         `api_key_file` in the settings file"
    );
    ensure!(matches!(url.scheme(), "http" | "https"), "--backend `{text}` must begin with http:// or https://");
    ensure!(url.query().is_none() && url.fragment().is_none(), "--backend `{text}` must end before `?` and `#`");
    let url = url.as_str().trim_end_matches('/');
    // Tools show their URL with the version; every route that is called has it already.
    Ok(url.strip_suffix("/v1").unwrap_or(url).trim_end_matches('/').to_owned())
}

fn check_one(backend: &BackendArg) -> anyhow::Result<()> {
    let parallel = backend.parallel.unwrap_or(1);
    let most = limits::REQUESTS;
    ensure!((1..=most).contains(&parallel), "has a `parallel` of {parallel}; it must be from 1 to {most}");
    let most = limits::MEMORY_MB;
    ensure!(backend.vram_mb.values().all(|&mb| mb <= most), "has a `vram_mb` of more than {most}");
    for alias in backend.aliases.keys() {
        ensure!(
            crate::backends::is_name(alias),
            "has the alias `{alias}`, which must be printable and at most {} bytes long",
            limits::MODEL_BYTES
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(texts: &[&str]) -> anyhow::Result<Vec<String>> {
        let given: Vec<BackendArg> = texts.iter().map(|text| text.parse().unwrap()).collect();
        Ok(check(&given)?.into_iter().map(|backend| format!("{} {}", backend.kind, backend.url)).collect())
    }

    #[test]
    fn a_backend_is_a_kind_and_a_url() {
        assert_eq!(checked(&["ollama=http://127.0.0.1:11434/"]).unwrap(), ["ollama http://127.0.0.1:11434"]);
        assert_eq!(checked(&["openai = https://x.example/api/v1/"]).unwrap(), ["openai https://x.example/api"]);
        assert!("http://x".parse::<BackendArg>().unwrap_err().contains("KIND=URL"));
        assert!("olama=http://x".parse::<BackendArg>().unwrap_err().contains("ollama, vllm, llamacpp, openai"));
        let refusal = |text: &str| format!("{:#}", checked(&[text]).unwrap_err());
        assert!(refusal("openai=ftp://x").contains("http://"));
        assert!(refusal("openai=x").contains("an example is ollama=http://"));
        let with_password = refusal("openai=http://u:geheim@x");
        assert!(with_password.contains("api_key_file") && !with_password.contains("geheim"));
        assert!(format!("{:#}", checked(&["vllm=http://x", "openai=http://x/"]).unwrap_err()).contains("twice"));
    }
}
