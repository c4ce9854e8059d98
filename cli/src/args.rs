//! The command line.

use clap::{Parser, Subcommand};

use crate::{
    agents, audit, chat, completion, context, dev, doctor, events, failure::EXIT_CODES, infer, jobs, join_tokens, keys,
    login, manual, models, parent, route, scheduler, settings::Global, status, submit, sweep,
};

/// Run jobs and ask models on a fleet of machines.
///
/// `titan dev` starts everything on this machine. After that, in another terminal:
/// `titan submit -- echo hi`, `titan jobs ls`, `titan agents ls`.
#[derive(Debug, Parser)]
#[command(name = "titan", version, after_long_help = EXIT_CODES, infer_subcommands = false, subcommand_required = true)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// End when standard input does: whoever started this process holds its other end.
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start Redis, a coordinator and agents on this machine, until Ctrl-C.
    Dev(dev::Options),
    /// Submit a job and follow its output, or many from a file.
    Submit(submit::Options),
    /// Look at jobs, follow, cancel and retry them.
    #[command(subcommand)]
    Jobs(jobs::Command),
    /// Look at agents, add, drain and remove them.
    #[command(subcommand)]
    Agents(agents::Command),
    /// Talk to a model.
    Chat(chat::Options),
    /// Ask a model one question.
    Infer(infer::Options),
    /// Look at the models that agents serve.
    #[command(subcommand)]
    Models(models::Command),
    /// Show which agent would answer for a model, and why; each look takes a place there for 15 seconds.
    ///
    /// It asks as a client in direct mode does, so the next look may show a lower score, or another agent.
    Route(route::Options),
    /// Show what has happened in the pool, follow what happens, and publish events.
    Events(events::Options),
    /// Show the pool at a glance.
    Status(status::Options),
    /// See and choose by what agents are chosen.
    #[command(subcommand)]
    Scheduler(scheduler::Command),
    /// Settle what is overdue now, instead of when somebody next calls.
    Sweep(sweep::Options),
    /// Make, list and revoke API keys.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Make, list and revoke tokens with which machines join.
    #[command(subcommand)]
    JoinTokens(join_tokens::Command),
    /// Look for what is wrong between here and a working pool.
    Doctor(doctor::Options),
    /// Compare everything that a pool keeps in Redis with itself; nothing is written.
    Audit(audit::Options),
    /// Keep a coordinator's URL and a key for it, and use them from now on.
    Login(login::Options),
    /// Look at the coordinators that are kept, and choose one.
    #[command(subcommand)]
    Context(context::Command),
    /// Run a coordinator, or make what one needs.
    Coordinator(titan_coordinator::Command),
    /// Run an agent: take jobs from a coordinator and run them on this machine.
    Agent(Box<titan_agent::Command>),
    /// Print a script that completes commands in a shell.
    Completion(completion::Options),
    /// Write the manual pages, or the reference of docs/cli.md.
    #[command(hide = true)]
    Manual(manual::Options),
    /// Run a program that ends when standard input does.
    #[command(hide = true)]
    WithParent(parent::Options),
}
