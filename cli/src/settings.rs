//! Flags that every command takes: which coordinator to call, with which key, and how to show what it says.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use titan_api::ids::PoolName;

use crate::files::contexts::Name;

/// Flags that every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The coordinator's URL. Without it: the variable `TITAN_URL`, else the current context's, else that of a running
    /// `titan dev`, else port 8080 of this machine.
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    /// A context that `titan login` made, or `dev` for a running `titan dev`: its URL, key and pool. Without it: the
    /// variable `TITAN_CONTEXT`, else the one that `titan context use` chose.
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<Name>,
    /// A file that holds the API key or admin token; `-` reads it from standard input. Without it: the variable
    /// `TITAN_API_KEY`, else the file that `TITAN_API_KEY_FILE` names, else the key that belongs to the URL. A key is
    /// never given as a flag's value, since other users of a machine can see those.
    #[arg(long, global = true, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// The pool to act in (`TITAN_POOL`). Only an admin token may name one; a key belongs to its pool.
    #[arg(long, global = true, value_name = "POOL")]
    pub pool: Option<PoolName>,
    /// Certificates (PEM) to trust beside the system's (`TITAN_CA_FILE`).
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// How to print what was asked for.
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
    /// No line of headings above a table.
    #[arg(long, global = true)]
    pub no_headers: bool,
    /// No colours; the variable `NO_COLOR` says the same.
    #[arg(long, global = true)]
    pub no_color: bool,
}

impl Global {
    /// Whether the key is read from standard input.
    #[must_use]
    pub fn reads_stdin(&self) -> bool {
        self.key_file.as_deref() == Some(Path::new("-"))
    }
}

/// How to print what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people: aligned columns.
    #[default]
    Table,
    /// The same with more columns, and nothing cut.
    Wide,
    /// The coordinator's reply exactly as it came.
    Json,
    /// One line of JSON for each thing in a list.
    Jsonl,
    /// The id of each thing, one a line.
    Name,
}

impl Format {
    /// Whether people read it.
    #[must_use]
    pub fn is_table(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }

    /// Whether programs read it as JSON.
    #[must_use]
    pub fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Jsonl)
    }
}
