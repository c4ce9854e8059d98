//! What is run as a process, written down for the keeper that runs it.

use std::{
    collections::BTreeMap,
    env, io,
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, access};
use serde::{Deserialize, Serialize};

use super::{
    gpus::Chosen,
    home::Home,
    recipe::{Place, Token},
};
use crate::{
    config::{JobUser, Supervised, Wanted},
    executor::{ProcessName, SEARCH_PATH},
    files,
};

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

/// A backend as a process. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spec {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// Variables whose values are in files, to be read at the last moment.
    pub secrets: BTreeMap<String, PathBuf>,
    pub folder: PathBuf,
    pub user: Option<JobUser>,
    /// Whether it goes on without the agent.
    pub keep: bool,
    /// Where it listens.
    pub port: u16,
}

/// Who runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    pub keeper: ProcessName,
    /// The backend's main process, which leads a group of that number.
    #[serde(default)]
    pub main: Option<ProcessName>,
}

/// How a backend ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    pub code: Option<i32>,
    pub signal: Option<i32>,
}

impl Spec {
    /// What `wanted` is as a process at `port`.
    pub(super) fn of(
        wanted: &Wanted,
        program: PathBuf,
        supervised: &Supervised,
        gpus: &Chosen,
        home: &Home,
        port: u16,
    ) -> Self {
        let (recipe, parallel) = (&wanted.recipe, wanted.parallel);
        let place = Place { host: "127.0.0.1", port, gpus: gpus.count(), model_file: None, parallel };
        let folder = match &supervised.user {
            // The folder of the backend is the agent's own.
            Some(user) if user.home.is_dir() => user.home.clone(),
            Some(_) => PathBuf::from("/"),
            None => own_home().unwrap_or_else(|| home.path().to_owned()),
        };
        let mut env = environment(recipe.passed_on());
        env.insert("HOME".to_owned(), folder.to_string_lossy().into_owned());
        if let Some(user) = &supervised.user {
            env.insert("USER".to_owned(), user.name.clone());
        }
        if let Some(models) = &wanted.models {
            env.insert(recipe.models_variable().to_owned(), models.to_string_lossy().into_owned());
        }
        if let Chosen::These(ids) = gpus {
            // Empty hides all of them.
            env.insert("CUDA_VISIBLE_DEVICES".to_owned(), ids.join(","));
        }
        let mut secrets = BTreeMap::new();
        match (recipe.token(), &supervised.hf_token_file) {
            (Token::File(name), Some(path)) => {
                env.insert(name.to_owned(), path.to_string_lossy().into_owned());
            }
            (Token::Variable(name), Some(path)) => {
                secrets.insert(name.to_owned(), path.clone());
            }
            _ => {}
        }
        env.extend(recipe.environment(&place).into_iter().map(|(name, value)| (name.to_owned(), value)));
        let (args, user, keep) = (recipe.arguments(&place), supervised.user.clone(), supervised.keep);
        Self { program, args, env, secrets, folder, user, keep, port }
    }

    pub(super) fn write(&self, home: &Home) -> io::Result<()> {
        files::write_scratch(&home.spec(), &serde_json::to_vec(self)?)
    }

    pub(super) fn read(home: &Home) -> io::Result<Option<Self>> {
        read(&home.spec())
    }
}

impl Journal {
    pub(super) fn write(&self, home: &Home) -> io::Result<()> {
        files::write_scratch(&home.journal(), &serde_json::to_vec(self)?)
    }

    pub(super) fn read(home: &Home) -> io::Result<Option<Self>> {
        read(&home.journal())
    }
}

impl End {
    pub(super) fn write(&self, home: &Home) -> io::Result<()> {
        files::write_scratch(&home.end(), &serde_json::to_vec(self)?)
    }

    pub(super) fn read(home: &Home) -> Option<Self> {
        read(&home.end()).ok().flatten()
    }

    pub(super) fn words(&self) -> String {
        match (self.code, self.signal) {
            (Some(code), _) => format!("it ended with code {code}"),
            (None, Some(signal)) => format!("it was ended by signal {signal}"),
            (None, None) => "it ended".to_owned(),
        }
    }
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<Option<T>> {
    files::read_if_there(path)?.map(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from)).transpose()
}

/// The agent's environment may hold secrets, so only what is known is handed on.
fn environment(passed_on: &[&'static str]) -> BTreeMap<String, String> {
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

fn own_home() -> Option<PathBuf> {
    env::var_os("HOME").map(PathBuf::from).filter(|folder| folder.is_absolute() && folder.is_dir())
}

/// Where programs of backends are looked for: in the agent's own PATH, then where jobs' programs are.
fn search_path() -> String {
    let own = env::var("PATH").unwrap_or_default();
    if own.is_empty() { SEARCH_PATH.to_owned() } else { format!("{own}:{SEARCH_PATH}") }
}

/// The program of that name, if there is one.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    let path = search_path();
    let candidates =
        path.split(':').filter(|folder| folder.starts_with('/')).map(|folder| Path::new(folder).join(name));
    candidates.into_iter().find(|path| path.is_file() && access(path, AccessFlags::X_OK).is_ok())
}

/// The program at that path.
///
/// # Errors
/// There is none that can be run, in words.
pub(super) fn named_program(path: &Path, flag: &str) -> Result<PathBuf, String> {
    let name = path.display();
    if path.components().count() == 1 {
        let name = path.to_string_lossy();
        return find_program(&name).ok_or_else(|| format!("there is no program `{name}` in PATH: mend {flag}"));
    }
    if !path.is_file() {
        return Err(format!("there is no program {name}: mend {flag}"));
    }
    if access(path, AccessFlags::X_OK).is_err() {
        return Err(format!("{name} may not be run by this account: chmod +x {name}"));
    }
    std::path::absolute(path).map_err(|_| format!("`{name}` is no path"))
}
