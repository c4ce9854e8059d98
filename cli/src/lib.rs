//! The command line of TitanCompute: what a person types to run jobs and look after agents, and `titan dev`, which
//! starts everything on one machine.

pub mod agents;
pub mod args;
pub mod context;
pub mod dev;
pub mod failure;
pub mod follow;
pub mod interrupt;
pub mod jobs;
pub mod parent;
pub mod printer;
pub mod render;
pub mod session;
pub mod settings;
pub mod status;
pub mod stop;
pub mod submit;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;

use crate::{
    args::{Cli, Command},
    failure::Failure,
    session::Session,
};

/// Does what the command line says.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    if cli.exit_with_parent {
        parent::end_with_stdin();
    }
    match dispatch(cli) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::WithParent(options) => Ok(parent::run(&options)?),
        Command::Coordinator(command) => {
            let runtime = tokio::runtime::Runtime::new().context("the runtime cannot be started")?;
            runtime.block_on(titan_coordinator::execute(command))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Agent(command) => {
            // The agent starts itself again to watch over each attempt, by the same way as it was started.
            let this = std::env::current_exe().context("the path of this program is unknown")?;
            Ok(titan_agent::execute(command, vec![this.into_os_string(), "agent".into()])?)
        }
        Command::Dev(options) => block_on(dev::run(options, cli.global)),
        Command::Submit(options) => block_on(submit::run(Session::open(&cli.global)?, options)),
        Command::Jobs(command) => block_on(jobs::run(Session::open(&cli.global)?, command)),
        Command::Agents(command) => block_on(agents::run(Session::open(&cli.global)?, command)),
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
