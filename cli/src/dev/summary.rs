//! What `titan dev` says when all is up: where everything is, and what to try.

use std::path::Path;

use super::{
    fleet::{Fleet, Running},
    model, servers,
};
use crate::{failure::Failure, files::contexts::Contexts, session::connect};

/// Prints it to standard output.
pub(super) async fn print(fleet: &Fleet, running: &Running) -> Result<(), Failure> {
    use std::io::Write;
    let model = model(running).await?;
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
    let chat = model.map(|model| format!("chat {model}"));
    for arguments in ["submit -- echo hi"].into_iter().chain(chat.as_deref()).chain(["jobs ls", "agents ls"]) {
        writeln!(out, "  {titan}{context} {arguments}")?;
    }
    writeln!(out)?;
    Ok(out.flush()?)
}

/// A model that can be talked with: the small one of the demonstration, else one that an agent has found or was told of.
async fn model(running: &Running) -> Result<Option<String>, Failure> {
    if running.has_model {
        return Ok(Some(model::NAME.to_owned()));
    }
    let client = connect(&running.url)?.with_bearer(running.api_key.as_str());
    let served = client.models().await.map(|reply| reply.into_value().models).unwrap_or_default();
    let mut names = served.into_iter().filter(|listed| listed.agents > 0).map(|listed| listed.model.name);
    Ok(names.find(|name| is_plain(name)))
}

/// Whether a name can stand in a line of shell as it is.
fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || "._:/-".contains(c)) && !name.starts_with('-')
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
