//! The daemon on a box: joins a pool, says what the box has left, takes jobs from a coordinator, runs them and
//! reports what they write and how they end; relays requests to the models of its box. It calls out: nobody needs to
//! reach it, though a gateway for holders of tickets may be set up.
//!
//! [`execute`] is the whole program, so that the binary `titan-agent` and the command `titan agent` are the same thing.

mod agent;
mod attempts;
mod backends;
mod backoff;
mod cgroups;
mod claim;
mod clock;
mod config;
mod doctor;
mod executor;
mod files;
mod gateway;
mod hardware;
mod heartbeat;
mod identity;
mod join;
mod link;
mod local;
mod logging;
mod loops;
mod outbox;
mod policy;
mod reexec;
mod register;
mod relay;
mod report;
mod roster;
mod run;
#[cfg(test)]
mod samples;
mod shutdown;
mod space;
mod supervise;
mod trace;
mod vitals;

#[cfg(test)]
#[path = "../../tests/src/backend/mod.rs"]
#[expect(dead_code, unreachable_pub, reason = "it belongs to the harness of the whole, which uses all of it")]
mod scripted_backend;
#[cfg(test)]
#[path = "../tests/it/coordinator.rs"]
#[expect(dead_code, reason = "it belongs to the tests of the program, which use all of it")]
mod scripted_coordinator;

use std::{ffi::OsString, process::ExitCode};

use reexec::Reexec;

pub use config::{
    Accelerator, BackendArg, Kind, LlamaCppArgs, LogFormat, OllamaArgs, OnStop, RunArgs, RunnerWish, VllmArgs,
};
pub use doctor::{Finding, Findings, Verdict};
pub use executor::ShimArgs;
pub use supervise::KeeperArgs;

/// What the agent's command line asks for.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Command {
    /// What to do; `run` if nothing is named.
    #[command(subcommand)]
    verb: Option<Verb>,
    /// The options of `run`, which may be left out.
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Verb {
    /// Join the pool and work until told to stop (SIGTERM or Ctrl-C; a second one stops at once).
    Run(Box<RunArgs>),
    /// Look at everything that this box needs to be an agent, and say what to do. It goes by the settings that it is given, not by
    /// those of an agent that runs: start it with the same options and environment, as the same account. It changes nothing, and
    /// fails if something is broken.
    Doctor(Box<RunArgs>),
    /// Watch over one attempt of a job. The agent starts this by itself.
    #[command(hide = true)]
    Shim(ShimArgs),
    /// Watch over one backend that the agent has started. The agent starts this by itself.
    #[command(hide = true)]
    Keeper(KeeperArgs),
}

/// Does what the command line asks for and gives the exit code to end with.
///
/// `reexec` is how to start this same program again up to, but without, the words parsed into `command`: the agent
/// starts its shims so. For `titan-agent` that is its own path, for `titan agent` its own path and `agent`.
/// With `json` it prints what it was asked for (by `doctor`) as JSON. It makes its own runtime, so it must not be called from within one.
///
/// # Errors
/// What could not be done, why, and what to do about it, in words for the person at the box.
pub fn execute(command: Command, reexec: Vec<OsString>, json: bool) -> anyhow::Result<ExitCode> {
    let reexec = Reexec::new(reexec);
    match command.verb {
        Some(Verb::Shim(shim)) => Ok(executor::shim(&shim, &reexec)),
        Some(Verb::Keeper(keeper)) => Ok(supervise::keeper(&keeper, &reexec)),
        Some(Verb::Doctor(args)) => doctor::run(&args, json),
        Some(Verb::Run(run)) => run::run(&run, reexec),
        None => run::run(&command.run, reexec),
    }
}
