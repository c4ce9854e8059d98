//! `titan dev`: Redis, a coordinator and agents on this machine, as separate processes, until Ctrl-C.

mod child;
mod demo;
mod find_redis;
mod fleet;
mod folder;
mod model;
mod ports;
mod redis;
pub(crate) mod secrets;
mod servers;
mod summary;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use titan_agent::BackendArg;
use titan_api::secret::Secret;

pub use self::{
    find_redis::find_redis,
    model::{ModelServer, find_model},
};
use self::{fleet::Fleet, folder::DataFolder};
use crate::{
    failure::Failure,
    files::dev::{self as context, DevContext},
    settings::Global,
    stop::Stop,
};

/// Arguments of `titan dev`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
While it runs, `titan` in another terminal finds it without any setting: its
URL and an API key are in $XDG_CONFIG_HOME/titan/dev.json (or
~/.config/titan/dev.json), readable by you alone. TITAN_URL, TITAN_API_KEY and
their flags go before. Redis is the program that TITAN_REDIS_BIN names, else
valkey-server or redis-server on the PATH, else .tools/valkey-server here or
above.")]
pub struct Options {
    /// Submit a few jobs, show what they write and where they ran, and chat with a small real model, if it was fetched.
    #[arg(long)]
    pub demo: bool,
    /// With --demo: end after it; the exit code says whether each agent ran jobs, every byte came back, and the model
    /// answered.
    #[arg(long, requires = "demo")]
    pub once: bool,
    /// The coordinator's port on 127.0.0.1. Without it: 8080 if that is free, else another one.
    #[arg(long)]
    pub port: Option<u16>,
    /// How many agents to start.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub agents: u16,
    /// A backend on this machine whose models the agents serve, as KIND=URL: `ollama`, `vllm`, `llamacpp` or `openai`.
    /// May be given again; those at their usual ports are found without it.
    #[arg(long = "backend", value_name = "KIND=URL")]
    pub backends: Vec<BackendArg>,
    /// Where Redis, keys and logs are kept. Without it: `titan/dev` in `$XDG_DATA_HOME` or ~/.local/share; with
    /// `--once` a new folder, removed if all went well.
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
}

/// Starts everything, stays up until Ctrl-C or until a process dies, and stops everything.
///
/// # Errors
/// [`Failure`] if something could not be started, died, or the demonstration failed.
pub async fn run(options: Options, global: Global) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    let folder = match (&options.data_dir, options.once) {
        (Some(path), _) => DataFolder::open(path)?,
        (None, true) => DataFolder::temporary()?,
        (None, false) => DataFolder::open(&folder::default_path()?)?,
    };
    let mut fleet = Fleet::new(folder);
    let outcome = tokio::select! {
        outcome = up(&mut fleet, &options, &global) => outcome,
        () = stop.asked() => Err(Failure::Interrupted),
    };
    // Being asked to stop is how this ends well, once all is up.
    let outcome = match outcome {
        Err(Failure::Interrupted) if fleet.is_up() => Ok(()),
        outcome => outcome,
    };
    let outcome = outcome.map_err(|failure| match failure {
        // Stopping takes seconds in which somebody would wonder.
        failure @ Failure::Other(_) if fleet.runs() => {
            let message = failure.message().unwrap_or_default();
            eprintln!("{message}all the rest stops now");
            Failure::Told
        }
        other => other,
    });
    if let Some(file) = context::path() {
        DevContext::remove_own(&file);
    }
    fleet.stop(&mut stop).await;
    fleet.into_folder().close(outcome.is_ok());
    outcome
}

/// Everything between the start and the end; it returns only if there is nothing left to wait for.
async fn up(fleet: &mut Fleet, options: &Options, global: &Global) -> Result<(), Failure> {
    eprintln!("data folder {}", fleet.folder().path().display());
    let running = fleet.start(options).await?;
    if !options.once {
        write_context(fleet, &running)?;
    }
    if options.demo {
        let demo = demo::run(&running, global, usize::from(options.agents));
        tokio::select! {
            outcome = demo => outcome?,
            death = fleet.first_death() => return Err(death),
        }
    }
    if options.once {
        return Ok(());
    }
    summary::print(fleet, &running).await?;
    fleet.note_up();
    Err(fleet.first_death().await)
}

fn write_context(fleet: &Fleet, running: &fleet::Running) -> Result<(), Failure> {
    let file = context::path().context("there is no HOME, so other terminals could not find this coordinator")?;
    let context = DevContext {
        url: running.url.clone(),
        api_key: running.api_key.clone(),
        pid: std::process::id(),
        data_dir: fleet.folder().path().to_owned(),
        redis_url: fleet.redis().map(|redis| Secret::new(redis.url.clone())),
    };
    Ok(context.write(&file)?)
}
