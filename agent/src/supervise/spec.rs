//! What is run as a process, written down for the keeper that runs it.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    environment::{Variables, environment, own_home},
    gpus::Chosen,
    home::Home,
    recipe::{Place, Token},
};
use crate::{
    config::{JobUser, Supervised, Wanted},
    executor::ProcessName,
    files,
};

/// A backend as a process. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spec {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: Variables,
    /// Variables whose values may hold a password, and these without it: they come from the environment of whoever starts it.
    #[serde(default)]
    pub inherited: Variables,
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
        let (mut env, mut inherited) = environment(recipe.passed_on());
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
        // What is said here goes before what the agent has.
        inherited.retain(|name, _| !env.contains_key(name) && !secrets.contains_key(name));
        let (args, user, keep) = (recipe.arguments(&place), supervised.user.clone(), supervised.keep);
        Self { program, args, env, inherited, secrets, folder, user, keep, port }
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
