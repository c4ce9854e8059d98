//! What a backend gets of the agent's environment. That may hold secrets, so only what is known is handed on, and a URL with
//! a password in it, as that of a proxy may be, from process to process alone: no file has it.

use std::{collections::BTreeMap, env, ffi::OsString, path::PathBuf};

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

/// Variables, and what they are set to.
pub(super) type Variables = BTreeMap<String, String>;

/// The environment of a backend that takes the variables which begin like that. Second, those that may hold a password,
/// without it: they are to be taken from where they are at the last moment, with [`inherited`].
pub(super) fn environment(passed_on: &[&'static str]) -> (Variables, Variables) {
    let general = PASSED_ON.iter().filter_map(|&name| Some((name.to_owned(), env::var(name).ok()?)));
    let all = general.chain(handed_on(passed_on));
    let (mut open, mut private) = (Variables::new(), Variables::new());
    for (name, value) in all {
        match behind_password(&name, &value) {
            Some(rest) => private.insert(name, rest.to_owned()),
            None => open.insert(name, value),
        };
    }
    open.insert("PATH".to_owned(), search_path());
    (open, private)
}

/// Those of the agent's variables that a container gets. Docker shows what it gets to whoever may ask it, so one with a
/// password in a URL is left out; second, the names of these.
pub(super) fn of_container(passed_on: &[&'static str]) -> (Variables, Vec<String>) {
    let (left_out, open): (Variables, Variables) =
        handed_on(passed_on).partition(|(name, value)| behind_password(name, value).is_some());
    (open, left_out.into_keys().collect())
}

/// What this process has of these variables.
pub(super) fn inherited(names: &Variables) -> impl Iterator<Item = (&String, OsString)> {
    names.keys().filter_map(|name| Some((name, env::var_os(name)?)))
}

/// What follows who asks and the password in a URL; none if neither is in it. That of a proxy need not name its scheme.
fn behind_password<'a>(name: &str, value: &'a str) -> Option<&'a str> {
    let is_url = value.contains("://") || name.to_ascii_lowercase().ends_with("_proxy");
    value.rsplit_once('@').filter(|_| is_url).map(|(_, rest)| rest)
}

/// The variables of the agent's environment that begin like that, but for those that may hold secrets.
fn handed_on(beginnings: &[&'static str]) -> impl Iterator<Item = (String, String)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_with_a_password_what_is_behind_it_is_known_alone() {
        for (name, value) in [
            ("HTTPS_PROXY", "http://user:pa@ss@proxy:3128"),
            ("http_proxy", "user:word@proxy:3128"),
            ("HF_ENDPOINT", "https://token@proxy:3128"),
        ] {
            assert_eq!(behind_password(name, value), Some("proxy:3128"), "{value}");
        }
        for (name, value) in [
            ("HTTPS_PROXY", "http://proxy:3128"),
            ("no_proxy", "localhost,.example.org"),
            ("LD_LIBRARY_PATH", "/opt/cuda@12/lib"),
        ] {
            assert_eq!(behind_password(name, value), None, "{value}");
        }
    }
}
