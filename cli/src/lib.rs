//! The command line of TitanCompute: what a person types to run jobs and look after agents, and `titan dev`, which
//! starts everything on one machine.

pub mod agents;
pub mod args;
pub mod audit;
pub mod chat;
pub mod completion;
pub mod context;
pub mod credential;
pub mod dev;
pub mod doctor;
pub mod events;
pub mod failure;
pub mod files;
pub mod follow;
pub mod help;
pub mod infer;
pub mod interrupt;
pub mod jobs;
pub mod join_tokens;
pub mod key;
pub mod keys;
pub mod login;
pub mod manual;
pub mod models;
pub mod page;
pub mod parent;
pub mod patience;
pub mod printer;
pub mod progress;
pub mod prompt;
pub mod render;
pub mod route;
pub mod scheduler;
pub mod session;
pub mod settings;
mod since;
pub mod status;
pub mod stop;
pub mod submit;
pub mod sweep;
pub mod target;
mod trace;
pub mod watch;

use std::process::ExitCode;

use anyhow::Context as _;

use crate::{args::Command, failure::Failure, session::Session};

/// Does what the command line says.
#[must_use]
pub fn run() -> ExitCode {
    let cli = help::parse(&std::env::args_os().collect::<Vec<_>>());
    if cli.exit_with_parent {
        parent::end_with_stdin();
    }
    match dispatch(cli) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn dispatch(cli: args::Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::WithParent(options) => Ok(parent::run(&options)?),
        Command::Coordinator(_) if cli.global.url.is_some() => Err(Failure::Usage(
            "--url is for other commands; a coordinator is told where to listen by --coordinator-http-port and \
             --coordinator-http-bind"
                .into(),
        )),
        Command::Coordinator(command) => {
            let runtime = tokio::runtime::Runtime::new().context("the runtime cannot be started")?;
            runtime.block_on(titan_coordinator::execute(command))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Agent(_) if cli.global.url.is_some() => Err(Failure::Usage(
            "--url is for other commands; an agent is told its coordinator with --coordinator".into(),
        )),
        Command::Agent(command) => {
            // The agent starts itself again to watch over each attempt, by the same way as it was started.
            let this = std::env::current_exe().context("the path of this program is unknown")?;
            let json = cli.global.output.is_json();
            Ok(titan_agent::execute(*command, vec![this.into_os_string(), "agent".into()], json)?)
        }
        Command::Login(options) => block_on(login::run(options, cli.global)),
        Command::Keys(command) => block_on(keys::run(Session::open(&cli.global)?, command)),
        Command::JoinTokens(command) => block_on(join_tokens::run(Session::open(&cli.global)?, command)),
        Command::Doctor(options) => block_on(doctor::run(options, cli.global)),
        Command::Audit(options) => block_on(audit::run(options, cli.global)),
        Command::Completion(options) => completion::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Manual(options) => manual::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Context(command) => context::run(&command, &cli.global).map(|()| ExitCode::SUCCESS),
        Command::Dev(options) => block_on(dev::run(options, cli.global)),
        Command::Submit(options) if cli.global.reads_stdin() && options.reads_stdin() => {
            let why = "standard input cannot be both the key and the job's input, or the jobs; use a file for one";
            Err(Failure::Usage(why.into()))
        }
        Command::Submit(options) => block_on(submit::run(Session::open(&cli.global)?, options)),
        Command::Jobs(command) => block_on(jobs::run(Session::open(&cli.global)?, command)),
        Command::Agents(command) => block_on(agents::run(Session::open(&cli.global)?, command)),
        Command::Scheduler(command) => block_on(scheduler::run(Session::open(&cli.global)?, command)),
        Command::Sweep(options) => block_on(sweep::run(Session::open(&cli.global)?, options)),
        Command::Events(options) => block_on(events::run(Session::open(&cli.global)?, options)),
        Command::Models(command) => block_on(models::run(Session::open(&cli.global)?, command)),
        Command::Infer(options) if cli.global.reads_stdin() && options.reads_stdin() => {
            Err(Failure::Usage("standard input cannot be both the key and the prompt; use a file for the key".into()))
        }
        Command::Infer(options) => block_on(infer::run(Session::open(&cli.global)?, options)),
        Command::Chat(_) if cli.global.reads_stdin() => Err(Failure::Usage(
            "standard input cannot be both the key and the conversation; use a file for the key".into(),
        )),
        Command::Chat(options) => block_on(chat::run(Session::open(&cli.global)?, options)),
        Command::Route(options) => block_on(route::run(Session::open(&cli.global)?, options)),
        Command::Status(options) => block_on(status::run(Session::open(&cli.global)?, options)),
    }
}

/// Runs a command on this thread. One more thread serves Ctrl-C, which must work while this one is stuck in a write.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(command).map(|()| ExitCode::SUCCESS)
}
