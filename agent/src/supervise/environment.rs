//! What a backend gets of the agent's environment. That may hold secrets, so only what is known is handed on.

use std::{collections::BTreeMap, env, path::PathBuf};

use crate::executor::SEARCH_PATH;

/// Variables that say how the box speaks, where its libraries are, and which way is out.
const PASSED_ON: [&str; 12] = [
    "LANG",
    "LC_ALL",
    "TZ",
    "LD_LIBRARY_PATH",
    "CUDA_HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
];
/// Parts of the names of variables that may hold secrets.
const SECRET: [&str; 4] = ["TOKEN", "KEY", "SECRET", "PASSWORD"];

/// The environment of a backend that takes the variables which begin like that.
pub(super) fn environment(passed_on: &[&'static str]) -> BTreeMap<String, String> {
    let general = PASSED_ON.iter().filter_map(|&name| Some((name.to_owned(), env::var(name).ok()?)));
    let mut all: BTreeMap<_, _> = general.chain(handed_on(passed_on)).collect();
    all.insert("PATH".to_owned(), search_path());
    all
}

/// The variables of the agent's environment that begin like that, but for those that may hold secrets.
pub(super) fn handed_on(beginnings: &[&'static str]) -> impl Iterator<Item = (String, String)> {
    let is_theirs = |name: &str| beginnings.iter().any(|beginning| name.starts_with(beginning));
    let is_secret = |name: &str| SECRET.iter().any(|part| name.contains(part));
    let all = env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    all.filter(move |(name, _)| is_theirs(name) && !is_secret(name)).collect::<Vec<_>>().into_iter()
}

pub(super) fn own_home() -> Option<PathBuf> {
    env::var_os("HOME").map(PathBuf::from).filter(|folder| folder.is_absolute() && folder.is_dir())
}

/// Where programs of backends are looked for: in the agent's own PATH, then where jobs' programs are.
pub(super) fn search_path() -> String {
    let own = env::var("PATH").unwrap_or_default();
    if own.is_empty() { SEARCH_PATH.to_owned() } else { format!("{own}:{SEARCH_PATH}") }
}
