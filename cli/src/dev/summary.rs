//! What `titan dev` says when all is up: where everything is, and what to try.

use std::path::Path;

use super::{
    fleet::{Fleet, Running},
    servers,
};
use crate::{failure::Failure, files::contexts::Contexts};

/// Prints it to standard output.
pub(super) fn print(fleet: &Fleet, running: &Running) -> Result<(), Failure> {
    use std::io::Write;
    let titan = titan_command();
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nTitanCompute runs here. Ctrl-C stops all of it; its data are kept.\n")?;
    writeln!(out, "  URL      {}", running.url)?;
    writeln!(out, "  API key  {}", running.api_key)?;
    writeln!(out, "  data     {}", fleet.folder().path().display())?;
    if let Some(redis) = fleet.redis() {
        let pid = redis.child.pid().unwrap_or_default();
        writeln!(out, "  redis    {} (process {pid}), log {}", redis.address, redis.child.log().display())?;
    }
    for child in fleet.servers() {
        writeln!(
            out,
            "  {} (process {}), log {}",
            child.name(),
            child.pid().unwrap_or_default(),
            child.log().display()
        )?;
    }
    writeln!(out, "\n{}", warning())?;
    // Where somebody has chosen another coordinator, that goes on to be called.
    let chosen = Contexts::load()?.current.filter(|name| !name.is_dev());
    let (how, context) = match &chosen {
        Some(name) => {
            (format!("the current context is {name}; `{titan} context use dev` changes over"), " --context dev")
        }
        None => ("it finds the URL and the key by itself".to_owned(), ""),
    };
    writeln!(out, "\nTry, in another terminal ({how}):\n")?;
    for arguments in ["submit -- echo hi", "jobs ls", "agents ls"] {
        writeln!(out, "  {titan}{context} {arguments}")?;
    }
    writeln!(out)?;
    Ok(out.flush()?)
}

/// How this program is called: `titan` if the search path leads to it, else its path.
fn titan_command() -> String {
    let Ok(executable) = std::env::current_exe() else { return "titan".to_owned() };
    let is_this = |path: &Path| path.canonicalize().is_ok_and(|path| Some(path) == executable.canonicalize().ok());
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&search_path).any(|folder| is_this(&folder.join("titan"))) {
        return "titan".to_owned();
    }
    let here = std::env::current_dir().unwrap_or_default();
    match executable.strip_prefix(here) {
        Ok(relative) => format!("./{}", relative.display()),
        Err(_) => executable.display().to_string(),
    }
}

/// What it means that the agents take jobs.
fn warning() -> &'static str {
    if servers::runs_as_root() {
        "The agents run with --allow-jobs and --allow-root-jobs: whoever has the key can run any program here as root."
    } else {
        "The agents run with --allow-jobs: whoever has the key can run any program here in your name."
    }
}
